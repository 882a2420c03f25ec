"""Building a package: the command and the function, what they refuse, and that nothing is left of what fails.

What compiles for real is in tests/support/compiled_package.py; here children answer at once.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engines
from engines import build
from engines.build import CompileOptions
from engines.compiled import build as compiled_build
from engines.compiled.compiler import require_compiler
from engines.compiled.sidecar import read_compiled_sidecar
from engines.trt.plan import BuildOptions
from engines.trt.sidecar import sidecar_path
from refinemask.agreement import Comparison, MismatchError
from refinemask.bundled import DEMO
from refinemask.files import UserError, sha256
from refinemask.weights import save_detector
from tests.support.tiny_detector import make_tiny_detector


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "tiny.pt2"


class Children:
    """What is asked of the child processes, and what they answer."""

    def __init__(self) -> None:
        self.compiled: list[tuple[dict[str, Any], Sequence[tuple[str, tuple[int, int]]]]] = []
        self.checked: list[dict[str, Any]] = []
        self.agreeing, self.unmatched = 50, 0

    def compile(
        self, source: dict[str, Any], jobs: Sequence[tuple[str, tuple[int, int]]]
    ) -> list[tuple[str, list[str]]]:
        self.compiled.append((source, jobs))
        return [(f"{part}_{size}", ["code"] if part != "image_maps" else []) for part, size in jobs]

    def check(self, package: Path, **options: Any) -> list[Comparison]:
        sidecar = read_compiled_sidecar(package)
        assert sidecar.package_sha256 == sha256(package), "it is loaded as any other package"
        self.checked.append(options)
        if options["pictures"] is None:
            return []
        zeros = np.zeros(self.agreeing, np.float32)
        return [Comparison((1, 64, 96), self.unmatched, zeros, zeros, zeros + 1)]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    children = Children()
    monkeypatch.setattr(compiled_build, "require_compiler", lambda checkpoint: None)
    monkeypatch.setattr(compiled_build, "compile_in_children", children.compile)
    monkeypatch.setattr(compiled_build, "check_in_child", children.check)
    packed = "torch._inductor.package.package_aoti"
    monkeypatch.setattr(packed, lambda package, files: package.write(repr(sorted(files)).encode()))
    return children


def test_the_function_writes_a_package_and_its_sidecar(checkpoint: Path, output: Path, children: Children) -> None:
    sidecar = engines.compile_engine(checkpoint, output, device="cpu", canvases=[(64, 96), (96, 64)], batch=2)
    assert read_compiled_sidecar(output) == sidecar
    assert sorted(path.name for path in output.parent.iterdir()) == ["tiny.pt2", "tiny.pt2.json"]
    assert sidecar.agreement == (50, 50)
    assert (sidecar.precision, sidecar.batch, sidecar.sizes) == ("fp32", 2, ((64, 96), (96, 64)))
    ((source, jobs),) = children.compiled
    assert source == {"checkpoint": str(checkpoint), "precision": "fp32", "device": "cpu", "batch": 2}
    assert len(jobs) == len(set(jobs)) == 4 * 2
    assert output.read_text().count("(64, 96)") == 3, "and no part that the detector has not got"
    assert children.checked == [{"checkpoint": str(checkpoint), "output": str(output), "pictures": str(DEMO)}]


def test_by_default_it_is_landscape_and_portrait_as_the_model_resizes(
    checkpoint: Path, output: Path, children: Children
) -> None:
    sidecar = engines.compile_engine(checkpoint, output, device="cpu")
    assert (sidecar.batch, sidecar.sizes) == (1, ((64, 128), (128, 64)))
    assert sidecar.command == (
        f"python -m engines.build {checkpoint} -o {output} --device cpu --precision fp32 --batch 1 "
        "--canvases 64x128 128x64"
    )


def test_the_command_of_the_sidecar_builds_the_same_again(
    checkpoint: Path, output: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engines.compile_engine(checkpoint, output, device="cpu", precision="bf16", canvases=[(96, 64)], batch=3)
    monkeypatch.setattr(sys, "argv", first.command.split()[2:])
    assert build.main() == 0
    assert read_compiled_sidecar(output) == first


def test_without_a_comparison_the_package_is_loaded_once_and_the_sidecar_says_so(
    checkpoint: Path, output: Path, children: Children
) -> None:
    sidecar = engines.compile_engine(checkpoint, output, device="cpu", check=False)
    assert sidecar.agreement is None
    assert [options["pictures"] for options in children.checked] == [None]
    assert read_compiled_sidecar(output).agreement is None


def test_too_little_agreement_leaves_nothing(
    checkpoint: Path, output: Path, children: Children, capsys: pytest.CaptureFixture[str]
) -> None:
    children.unmatched = 5
    message = "not written, 50 of 55 detections agree with eager PyTorch in fp32; expected 98% of them"
    with pytest.raises(MismatchError, match=message):
        engines.compile_engine(checkpoint, output, device="cpu")
    assert list(output.parent.iterdir()) == []
    args = build.Args(model=checkpoint, output=output, compile=CompileOptions(device="cpu"))
    assert build.main(args) == 1
    assert message in capsys.readouterr().err
    # Of bf16 nine tenths are enough.
    assert engines.compile_engine(checkpoint, output, device="cpu", precision="bf16").agreement == (50, 55)


def test_an_older_package_outlives_a_build_that_fails(checkpoint: Path, output: Path, children: Children) -> None:
    engines.compile_engine(checkpoint, output, device="cpu")
    before = output.read_bytes(), sidecar_path(output).read_bytes()
    children.agreeing, children.unmatched = 0, 1
    with pytest.raises(MismatchError):
        engines.compile_engine(checkpoint, output, device="cpu", canvases=[(32, 32)])
    assert (output.read_bytes(), sidecar_path(output).read_bytes()) == before


def test_the_command_says_how_many_agree(
    checkpoint: Path, output: Path, children: Children, capsys: pytest.CaptureFixture[str]
) -> None:
    args = build.Args(model=checkpoint, output=output, compile=CompileOptions(device="cpu"))
    assert build.main(args) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "50 of 50 detections agree with eager PyTorch in fp32",
        f"{output}: compiled, {output}.json says of what",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device 'tpu' was asked for; expected cuda or cpu"),
        ({"precision": "fp16"}, "'fp16' cannot be compiled for device 'cpu'; expected fp32, bf16"),
        ({"precision": "int8"}, "'int8' cannot be compiled for device 'cpu'; expected fp32, bf16"),
        (
            {"device": "cuda", "precision": "int8"},
            "'int8' cannot be compiled for device 'cuda'; expected fp16, bf16, tf32, fp32",
        ),
        ({"canvases": [(64, 100)]}, "canvas 64x100: expected multiples of 32"),
        ({"canvases": [(64, 96), (64, 96)]}, "canvases 64x96, 64x96: expected one size or several different ones"),
        ({"images": "absent"}, "absent: no pictures; expected some of .*: name another directory"),
        ({"batch": 0}, "--batch 0: expected at least one image"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_compiled(
    checkpoint: Path, output: Path, children: Children, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        engines.compile_engine(checkpoint, output, **{"device": "cpu", **options})
    assert not children.compiled
    assert not output.parent.exists()


def test_a_missing_gpu_and_missing_kernels_are_named(
    checkpoint: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"tiny\.safetensors: .*PyTorch sees no GPU; use --device cpu"):
        engines.compile_engine(checkpoint, output)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("trt_plugins.torch_ops.enable_if_available", lambda: False)
    with pytest.raises(UserError, match=r"needs the CUDA kernels, which are not built; python -m trt_plugins\.build"):
        engines.compile_engine(checkpoint, output)


def test_a_full_disk_is_named_and_leaves_nothing(
    checkpoint: Path, output: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(UserError, match=r"out/tiny\.pt2: cannot be written: No space left on device$"):
        engines.compile_engine(checkpoint, output, device="cpu")
    assert children.compiled
    assert list(output.parent.iterdir()) == []


def test_the_compiler_is_looked_at_before_anything_is_compiled(
    checkpoint: Path, output: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_build, "require_compiler", require_compiler)
    monkeypatch.setenv("CXX", "g++-99")
    with pytest.raises(UserError, match=r"tiny\.safetensors: .*no program 'g\+\+-99'"):
        engines.compile_engine(checkpoint, output, device="cpu")
    assert not children.compiled
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": Path("tiny.engine")}, "tiny.engine: expected the name of a .pt2 file"),
        ({"model": Path("absent.safetensors")}, "absent.safetensors: no such file"),
        (
            {"build": BuildOptions(flavour="tensorrt", opt_shape=(1, 64, 96))},
            "only an exported file (.onnx), which TensorRT builds, takes --flavour, --opt-shape",
        ),
        ({"print_trtexec": 10}, "only an exported file (.onnx), which TensorRT builds, takes --print-trtexec"),
        ({"build": BuildOptions(precision="fp8")}, "'fp8' cannot be compiled for device 'cpu'; expected fp32, bf16"),
    ],
)
def test_the_command_refuses_in_one_line(
    checkpoint: Path,
    output: Path,
    children: Children,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, Any],
    message: str,
) -> None:
    usual = {"model": checkpoint, "output": output, "compile": CompileOptions(device="cpu")}
    assert build.main(build.Args(**{**usual, **arguments})) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not children.compiled


def test_options_of_compiling_are_refused_for_tensorrt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compile = CompileOptions(device="cpu", batch=2)
    args = build.Args(model=tmp_path / "tiny.onnx", output=tmp_path / "tiny.engine", compile=compile)
    assert build.main(args) == 2
    message = "tiny.onnx: only a checkpoint (.safetensors), which is compiled, takes --device, --batch\n"
    assert capsys.readouterr().err.endswith(message)


def test_the_help_lists_the_options_of_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["engines.build", "--help"])
    with pytest.raises(SystemExit) as caught:
        build.main()
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--device {cuda,cpu}", "--canvases", "--batch", "--images", "--flavour", "--opt-shape", "--trtexec"):
        assert option in text
