"""Building engines. What needs a builder uses TensorRT-RTX, which builds ahead of time on a machine without a GPU."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest

import trt_plugins
from engines import build
from engines.trt import builder
from engines.trt.builder import custom_nodes
from engines.trt.plan import BuildPlan
from engines.trt.sidecar import read_sidecar
from export.bounds import Bounds
from refinemask.files import sha256
from trt_plugins import LIBRARY_DIR, PLUGIN_LIBRARY

LIBRARY = LIBRARY_DIR / PLUGIN_LIBRARY
needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs the package tensorrt-rtx")
needs_library = pytest.mark.skipif(
    not LIBRARY.is_file(),
    reason="needs the plugin library (python -m trt_plugins.build, with TensorRT's headers)",
)
AHEAD_OF_TIME: dict[str, Any] = {"flavour": "tensorrt_rtx", "capabilities": ("8.9",)}


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
    args = build.Args(onnx=source, output=engine, precision="fp32", opt_shape=(2, 64, 96), **AHEAD_OF_TIME)
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
    assert len(custom_nodes(source)) == 12


@needs_rtx
@needs_library
@pytest.mark.tensorrt
def test_an_operator_that_falls_back_to_its_body_stops_the_build(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The toy's operator has a body, but no plugin of the library has its name.
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", plugins=LIBRARY, **AHEAD_OF_TIME)
    assert "1 Squash did not become plugin layers" in fails(args, capsys)


@needs_rtx
@pytest.mark.tensorrt
def test_refusals_of_the_builder(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", bodies=True, **AHEAD_OF_TIME)
    assert "does not build for compute capability 5.0" in fails(replace(args, capabilities=("5.0",)), capsys)
    not_elf = tmp_path / "plugins.so"
    not_elf.write_bytes(b"no library")
    assert "cannot load this plugin library" in fails(replace(args, bodies=False, plugins=not_elf), capsys)
    if builder.cuda_device() is None:
        assert "this machine has no GPU" in fails(replace(args, capabilities=()), capsys)
    model = onnx.load(args.onnx)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, args.onnx)
    assert "cannot parse it" in fails(args, capsys)


@needs_rtx
@pytest.mark.tensorrt
def test_an_unmet_precision_stops_with_code_1(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The file says fp16, its convolution is fp32.
    source = toy_onnx(precision="fp16")
    args = build.Args(onnx=source, output=tmp_path / "toy.engine", bodies=True, **AHEAD_OF_TIME)
    assert "fp16 was asked for, but only 0% of the compute layers are" in fails(args, capsys, code=1)


def test_wrong_requests(toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", bodies=True)
    wrong = [
        (replace(args, onnx=tmp_path / "absent.onnx"), "absent.onnx: no such file"),
        (replace(args, precision="fp16"), "its precision is fp32, and TensorRT keeps the types of the file"),
        (replace(args, opt_shape=(1, 64, 512)), "width 512 is outside what"),
        (replace(args, bodies=False, plugins=tmp_path / "absent.so", **AHEAD_OF_TIME), "no such plugin library"),
        (replace(args, trtexec=str(tmp_path / "absent")), "cannot be run"),
    ]
    for each, message in wrong:
        if each.plugins is None or find_spec("tensorrt_rtx"):
            assert message in fails(each, capsys)
    args.onnx.write_bytes(b"no model")
    assert "not a readable ONNX file" in fails(args, capsys)


def test_shapes_that_depend_on_the_image_are_refused(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = build.Args(onnx=toy_onnx(masks="found"), output=tmp_path / "toy.engine", bodies=True, print_trtexec=11)
    assert "export with --masks all" in fails(args, capsys)
    args.onnx.unlink()
    toy_onnx(masks="all")
    assert build.main(args) == 0


def test_a_missing_tensorrt_is_named(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", bodies=True, flavour="tensorrt")
    assert "pip install tensorrt" in fails(args, capsys)


def test_a_killed_build_is_reported(
    toy_onnx: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nkill -{int(signal.SIGKILL)} $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(builder.sys, "executable", str(script))
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", bodies=True, **AHEAD_OF_TIME)
    assert "ended with signal 9 (9 is usually lack of memory)" in fails(args, capsys)


def test_narrower_bounds(toy_onnx: Callable[..., Path], tmp_path: Path) -> None:
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", bodies=True, max_shape=(1, 96, 128))
    metadata, _ = build._read(args)
    bounds = build.make_plan(args, metadata).bounds
    assert bounds == Bounds(batch=(1, 1, 1), height=(32, 64, 96), width=(32, 64, 128))


def test_print_trtexec(toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", bodies=True, print_trtexec=10)
    assert build.main(args) == 0
    assert capsys.readouterr().out.startswith(f"trtexec --onnx={args.onnx} --saveEngine={args.output}")
    assert not args.output.exists()


def test_print_trtexec_before_the_library_is_built(
    toy_onnx: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (trt_plugins, build):
        monkeypatch.setattr(module, "LIBRARY_DIR", tmp_path)
    args = build.Args(onnx=toy_onnx(), output=tmp_path / "toy.engine", print_trtexec=11)
    assert build.main(args) == 0
    printed = capsys.readouterr()
    assert f"--dynamicPlugins={tmp_path / PLUGIN_LIBRARY}" in printed.out
    assert f"remark: {tmp_path / PLUGIN_LIBRARY}: not built" in printed.err
    assert "not built" in fails(replace(args, print_trtexec=None), capsys)


def test_plan_round_trip() -> None:
    plan = BuildPlan(
        onnx=Path("a.onnx"),
        plugins=None,
        flavour="tensorrt_rtx",
        bounds=Bounds(batch=(1, 1, 8), height=(32, 64, 96), width=(32, 64, 96)),
        capabilities=("8.9", "12.0"),
        timing_cache=Path("cache"),
    )
    assert BuildPlan.from_json(plan.to_json()) == plan
    assert os.fspath(json.loads(plan.to_json())["onnx"]) == "a.onnx"
