"""Building engines. What needs a builder uses TensorRT-RTX, which builds ahead of time on a machine without a GPU."""

import signal
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import onnx
import pytest
import tyro

import engines
import trt_plugins
from engines import build
from engines.trt import child, plan
from engines.trt.device import cuda_device
from engines.trt.plan import BuildOptions, BuildPlan, make_plan
from engines.trt.sidecar import read_sidecar
from refinemask.contract import Bounds
from refinemask.files import UserError, sha256
from refinemask.spelling import respell
from trt_plugins import LIBRARY_DIR, PLUGIN_LIBRARY

LIBRARY = LIBRARY_DIR / PLUGIN_LIBRARY
needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs the package tensorrt-rtx")
needs_library = pytest.mark.skipif(
    not LIBRARY.is_file(),
    reason="needs the plugin library (python -m trt_plugins.build, with TensorRT's headers)",
)
AHEAD_OF_TIME = BuildOptions(flavour="tensorrt_rtx", capabilities=("8.9",))
BODIES = replace(AHEAD_OF_TIME, bodies=True)


def changed(args: build.Args, **options: Any) -> build.Args:
    """The arguments with other options of the build."""
    return replace(args, build=replace(args.build, **options))


def fails(args: build.Args, capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """Run a build that must fail, leaving nothing behind; returns its one line."""
    assert build.main(args) == code
    assert not list(args.output.parent.glob("*.engine*")), "nothing may be left behind"
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    return captured.err


@needs_rtx
@needs_library
@pytest.mark.tensorrt
def test_builds_ahead_of_time_with_all_plugins(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, source = tiny_files
    engine = tmp_path / "tiny.engine"
    options = replace(AHEAD_OF_TIME, precision="fp32", opt_shape=(2, 64, 96))
    args = build.Args(model=source, output=engine, build=options)
    assert build.main(args) == 0, capsys.readouterr().err
    sidecar = read_sidecar(engine)
    assert sidecar.engine_sha256 == sha256(engine)
    assert sidecar.onnx_sha256 == sha256(source)
    assert sidecar.plugins_sha256 == sha256(LIBRARY)
    assert (sidecar.flavour, sidecar.capabilities, sidecar.gpu) == ("tensorrt_rtx", ("8.9",), None)
    assert sidecar.precision["compute"] == {"fp32": 1.0}
    assert sidecar.read_metadata(engine).bounds.height == (32, 64, 128)
    assert sidecar.command == (
        f"python -m engines.build {source.name} -o tiny.engine --precision fp32 --flavour tensorrt_rtx "
        "--opt-shape 2 64 96 --capabilities 8.9"
    )
    assert len(make_plan(source, options).custom_nodes) == 12


@needs_rtx
@needs_library
@pytest.mark.tensorrt
def test_an_operator_that_falls_back_to_its_body_stops_the_build(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The toy's operator has a body, but no plugin of the library has its name.
    args = build.Args(model=toy_onnx(), output=tmp_path / "toy.engine", build=replace(AHEAD_OF_TIME, plugins=LIBRARY))
    assert "1 Squash did not become plugin layers" in fails(args, capsys)


@needs_rtx
@pytest.mark.tensorrt
def test_refusals_of_the_builder(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = build.Args(model=toy_onnx(), output=tmp_path / "toy.engine", build=BODIES)
    assert "does not build for compute capability 5.0" in fails(changed(args, capabilities=("5.0",)), capsys)
    not_elf = tmp_path / "plugins.so"
    not_elf.write_bytes(b"no library")
    refused = fails(changed(args, bodies=False, plugins=not_elf), capsys)
    assert "cannot load this plugin library: " in refused
    assert "file too short" in refused
    assert "no reason given" not in refused
    if cuda_device() is None:
        assert "this machine has no GPU" in fails(changed(args, capabilities=()), capsys)
    model = onnx.load(args.model)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, args.model)
    assert "cannot parse it" in fails(args, capsys)


@needs_rtx
@pytest.mark.tensorrt
def test_an_unmet_precision_stops_with_code_1(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The file says fp16, its convolution is fp32.
    source = toy_onnx(precision="fp16")
    args = build.Args(model=source, output=tmp_path / "toy.engine", build=BODIES)
    assert "fp16 was asked for, but only 0% of the compute layers are" in fails(args, capsys, code=1)


def test_wrong_requests(toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = build.Args(model=toy_onnx(), output=tmp_path / "toy.engine", build=BuildOptions(bodies=True))
    wrong = [
        (replace(args, model=tmp_path / "absent.onnx"), "absent.onnx: no such file"),
        (changed(args, precision="fp16"), "its precision is fp32, and TensorRT keeps the types of the file"),
        (changed(args, opt_shape=(1, 64, 512)), "width 512 is outside what"),
        (changed(args, plugins=tmp_path / "a.so"), "--bodies builds without plugins; leave out --bodies or --plugins"),
        (changed(args, trtexec=str(tmp_path / "absent")), "cannot be run"),
    ]
    if find_spec("tensorrt_rtx"):
        absent = replace(AHEAD_OF_TIME, plugins=tmp_path / "absent.so")
        wrong.append((replace(args, build=absent), "no such plugin library"))
    for each, message in wrong:
        assert message in fails(each, capsys)
    args.model.write_bytes(b"no model")
    assert "not a readable ONNX file" in fails(args, capsys)


def test_shapes_that_depend_on_the_image_are_refused(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = build.Args(model=toy_onnx(masks="found"), output=tmp_path / "toy.engine", print_trtexec=11)
    assert "export with --masks all" in fails(args, capsys)
    args.model.unlink()
    toy_onnx(masks="all")
    assert build.main(args) == 0


def test_a_missing_tensorrt_is_named(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    args = build.Args(
        model=toy_onnx(), output=tmp_path / "toy.engine", build=BuildOptions(bodies=True, flavour="tensorrt")
    )
    assert "pip install 'refinemask[tensorrt]'" in fails(args, capsys)


def test_a_killed_build_is_reported(
    toy_onnx: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nkill -{int(signal.SIGKILL)} $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(script))
    args = build.Args(model=toy_onnx(), output=tmp_path / "toy.engine", build=BODIES)
    assert "ended with signal 9 (9 is usually lack of memory)" in fails(args, capsys)


def test_narrower_bounds(toy_onnx: Callable[..., Path]) -> None:
    narrowed = make_plan(toy_onnx(), BuildOptions(bodies=True, max_shape=(1, 96, 128)))
    assert narrowed.bounds == Bounds(batch=(1, 1, 1), height=(32, 64, 96), width=(32, 64, 128))
    assert narrowed.metadata.bounds == Bounds(batch=(1, 1, 4), height=(32, 64, 128), width=(32, 64, 256))


def test_print_trtexec(toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = build.Args(
        model=toy_onnx(), output=tmp_path / "toy.engine", print_trtexec=10, build=BuildOptions(bodies=True)
    )
    assert build.main(args) == 0
    assert capsys.readouterr().out.startswith(f"trtexec --onnx={args.model} --saveEngine={args.output}")
    assert not args.output.exists()


def test_print_trtexec_before_the_library_is_built(
    toy_onnx: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (trt_plugins, plan):
        monkeypatch.setattr(module, "LIBRARY_DIR", tmp_path)
    args = build.Args(model=toy_onnx(), output=tmp_path / "toy.engine", print_trtexec=11)
    assert build.main(args) == 0
    printed = capsys.readouterr()
    assert f"--dynamicPlugins={tmp_path / PLUGIN_LIBRARY}" in printed.out
    assert f"remark: {tmp_path / PLUGIN_LIBRARY}: not built" in printed.err
    assert "not built" in fails(replace(args, print_trtexec=None), capsys)


def test_plan_round_trip(toy_onnx: Callable[..., Path]) -> None:
    options = BuildOptions(
        flavour="tensorrt_rtx",
        capabilities=("8.9", "12.0"),
        opt_shape=(1, 64, 64),
        plugins=Path("plugins.so"),
        timing_cache=Path("cache"),
    )
    made = make_plan(toy_onnx(), options)
    assert [node.operator for node in made.custom_nodes] == ["Squash"]
    assert made.onnx_sha256 == sha256(made.onnx)
    assert BuildPlan.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (BuildOptions(), ""),
        (BuildOptions(precision="fp32", workspace_mib=4096), "--precision fp32 --workspace 4096"),
        (
            BuildOptions(plugins=Path("a.so"), version_compatible=True, max_shape=(1, 96, 128), timing_cache=Path("c")),
            "--plugins a.so --max-shape 1x96x128 --version-compatible --timing-cache c",
        ),
    ],
)
def test_the_command_says_what_was_asked_for(toy_onnx: Callable[..., Path], options: BuildOptions, words: str) -> None:
    command = make_plan(toy_onnx(), options).command(Path("out/toy.engine"))
    assert " ".join(command) == f"python -m engines.build toy.onnx -o toy.engine {words}".rstrip()
    assert tyro.cli(build.Args, args=command[3:]).build == options


def test_python_has_every_option_of_a_build() -> None:
    arguments = set(signature(engines.build_engine).parameters)
    assert arguments == {field.name for field in fields(BuildOptions)} | {"onnx", "output", "images", "check"}


@needs_rtx
@pytest.mark.tensorrt
def test_build_engine_returns_the_sidecar_and_prints_nothing(
    toy_onnx: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, output = toy_onnx(), tmp_path / "out" / "toy.engine"
    sidecar = engines.build_engine(
        source, output, flavour="tensorrt_rtx", capabilities=("8.9",), bodies=True, max_shape=(1, 96, 128)
    )
    assert capfd.readouterr().out == ""
    assert read_sidecar(output) == sidecar
    assert sidecar.engine_sha256 == sha256(output)
    assert sidecar.onnx_sha256 == sha256(source)
    assert (sidecar.flavour, sidecar.capabilities, sidecar.gpu) == ("tensorrt_rtx", ("8.9",), None)
    assert (sidecar.plugins, sidecar.plugins_sha256) == (None, None)
    assert sidecar.precision["compute"] == {"fp32": 1.0}
    assert sidecar.read_metadata(output).bounds.width == (32, 64, 128)
    assert sidecar.command == (
        "python -m engines.build toy.onnx -o toy.engine --flavour tensorrt_rtx --bodies --max-shape 1x96x128 "
        "--capabilities 8.9"
    )


@needs_rtx
@pytest.mark.tensorrt
def test_build_engine_raises(toy_onnx: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        engines.build_engine(tmp_path / "absent.onnx", tmp_path / "toy.engine")
    source = toy_onnx(precision="fp16")
    with pytest.raises(engines.PrecisionNotMetError, match="fp16 was asked for, but only 0%"):
        engines.build_engine(
            source, tmp_path / "toy.engine", flavour="tensorrt_rtx", capabilities=("8.9",), bodies=True
        )
    assert not list(tmp_path.glob("*.engine*"))


def test_old_and_new_spellings_of_shapes_are_the_same() -> None:
    new = ["a.onnx", "-o", "a.engine", "--opt-shape", "1x96x128", "--max-shape", "2x96x128"]
    old = ["a.onnx", "--output", "a.engine", "--opt-shape", "1", "96", "128", "--max-shape", "2", "96", "128"]
    first, second = (tyro.cli(build.Args, args=respell(words, build.OLD)) for words in (new, old))
    assert first == second
    assert first.build.max_shape == (2, 96, 128)
