"""An engine gets its name only if its detections are right at the corners of its profile. On stand-ins for a GPU."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest

import engines
from engines import build, check
from engines.build import CheckOptions
from engines.trt import child, verified_build, verified_check
from engines.trt.corners import table
from engines.trt.described import describe_engine
from engines.trt.plan import BuildOptions, BuildPlan, Built
from engines.trt.sidecar import read_sidecar, sidecar_path, write_sidecar
from refinemask.contract import Bounds
from refinemask.files import sha256
from tests.support.fake_tensorrt import FakeEngine

ROOT = Path(__file__).resolve().parents[3]
Outputs = dict[str, np.ndarray]
SHAPES = [(batch, *size) for size in ((32, 32), (64, 64), (128, 256)) for batch in (1, 2, 4)]


def distort(monkeypatch: pytest.MonkeyPatch, change: Callable[[Outputs], None]) -> None:
    monkeypatch.setattr(FakeEngine, "distort", staticmethod(change))


def test_an_engine_that_is_right_has_the_table_in_its_sidecar(
    args: build.Args, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(args) == 0
    sidecar = read_sidecar(args.output)
    assert [corner.shape for corner in sidecar.corners] == SHAPES
    assert sidecar.unchecked is None
    for corner in sidecar.corners:
        # At batch 1 each of the two pictures.
        images = max(corner.shape[0], 2)
        assert corner.found == 3 * images
        assert corner.onnxruntime is not None
        assert corner.onnxruntime.agreeing == corner.onnxruntime.detections == 3 * images
        assert corner.onnxruntime.mask == 1
        assert (corner.rows is None) == (corner.shape[0] == 1)
        assert corner.rows is None or corner.rows.agreeing == corner.rows.detections == 3 * images
    printed = capsys.readouterr()
    assert table(sidecar.corners) in printed.out
    engines.load(args.output, device="cuda")
    assert not capsys.readouterr().err


def second_row(outputs: Outputs) -> None:
    outputs["boxes"][1:2] += 5


def swapped_rows(outputs: Outputs) -> None:
    outputs["scores"][:2] = outputs["scores"][:2][::-1].copy()
    outputs["boxes"][:2] = outputs["boxes"][:2][::-1].copy()


def swapped_outputs(outputs: Outputs) -> None:
    outputs["boxes"][:, :2] = outputs["boxes"][:, 1::-1].copy()


def not_a_number(outputs: Outputs) -> None:
    outputs["masks"][0, 1] = np.nan


def infinite(outputs: Outputs) -> None:
    outputs["boxes"][0, 0, 3] = np.inf


def too_many(outputs: Outputs) -> None:
    outputs["num_detections"][:] = 4


def unordered(outputs: Outputs) -> None:
    for array in outputs.values():
        if array.ndim > 1:
            array[:] = array[:, ::-1].copy()


def without_detections(outputs: Outputs) -> None:
    outputs["num_detections"][-1] = 0


def wrong_where_large(outputs: Outputs) -> None:
    # The whole of the largest picture is the first box.
    if outputs["boxes"][:, 0, 2].max() > 128:
        outputs["masks"][:] = 1 - outputs["masks"]


def wrong_when_replayed() -> Callable[[Outputs], None]:
    """The third time that a batch of four comes."""
    times = count(1)

    def change(outputs: Outputs) -> None:
        if len(outputs["boxes"]) == 4 and next(times) == 3:
            outputs["boxes"] += 5

    return change


ALONE, ORT = "each image alone", "ONNX Runtime on the exported file"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (second_row, f"batch 2, height 32, width 32: beside {ORT} 0 of 3 detections agree in image 1 of the batch"),
        (swapped_rows, f"batch 2, height 32, width 32: beside {ORT} 0 of"),
        (swapped_outputs, f"batch 1, height 32, width 32: beside {ORT} 1 of 3"),
        (not_a_number, "batch 1, height 32, width 32: its output masks has a value that is not finite (image 0"),
        (infinite, "batch 1, height 32, width 32: its output boxes has a value that is not finite (image 0"),
        (too_many, "batch 1, height 32, width 32: its output num_detections is 4; expected 0 to 3"),
        (unordered, "batch 1, height 32, width 32: its output scores is not in descending order (image 0"),
        (without_detections, f"batch 1, height 32, width 32: beside {ORT} 0 of 3"),
        (wrong_when_replayed(), f"batch 4, height 32, width 32: beside {ORT} 0 of 4 detections agree in image 0"),
        (wrong_where_large, f"batch 1, height 128, width 256: beside {ORT} 0 of 3"),
    ],
)
def test_an_engine_that_is_wrong_is_refused_with_the_corner(
    args: build.Args,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[Outputs], None],
    named: str,
) -> None:
    args.output.parent.mkdir()
    args.output.write_bytes(b"an older engine")
    distort(monkeypatch, fault)
    assert build.main(args) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"error: {args.output}: not written, at {named}" in error
    assert "--no-check" in error
    assert [path.name for path in args.output.parent.iterdir()] == ["toy.engine"]
    assert args.output.read_bytes() == b"an older engine"


def test_an_engine_that_does_not_run_is_refused_with_the_corner(
    args: build.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakeEngine, "largest_batch", 3)
    assert build.main(args) == 1
    line = "at batch 4, height 32, width 32: does not take images of shape [4, 3, 32, 32]"
    assert f"error: {args.output}: not written, {line}" in capsys.readouterr().err
    assert not list(args.output.parent.iterdir())


def without_bodies(args: build.Args, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the bodies out of the exported file, but not out of the "engine"."""
    content = args.model.read_bytes()
    model = onnx.load(args.model)
    del model.functions[:]
    onnx.save(model, args.model)

    def built(plan: BuildPlan, engine: Path) -> Built:
        engine.write_bytes(content)
        return Built("10.13.0", {"compute": {"fp32": 1.0}}, None, [])

    monkeypatch.setattr(verified_build, "build_in_child", built)


def test_a_file_without_bodies_is_compared_row_by_row_alone(
    args: build.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_bodies(args, monkeypatch)
    assert build.main(args) == 0
    corners = read_sidecar(args.output).corners
    assert [corner.shape for corner in corners] == SHAPES
    assert not any(corner.onnxruntime for corner in corners)
    assert sum(corner.rows is not None for corner in corners) == 6
    assert "not compared" in capsys.readouterr().out
    distort(monkeypatch, second_row)
    assert build.main(args) == 1
    line = "at batch 2, height 32, width 32: beside each image alone 0 of 3 detections agree in image 1 of the batch"
    assert line in capsys.readouterr().err


def in_a_child(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Check in a process, as it really is."""
    script = directory / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.support.fake_child "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(script))
    monkeypatch.setattr(verified_check, "check_in_child", child.check_in_child)


def test_a_process_checks_and_a_crash_is_one_line(
    args: build.Args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_a_child(monkeypatch, tmp_path)
    assert build.main(args) == 0
    assert [corner.shape for corner in read_sidecar(args.output).corners] == SHAPES
    files = {path: path.read_bytes() for path in args.output.parent.iterdir()}
    monkeypatch.setenv("CRASHES", "1")
    capsys.readouterr()
    assert build.main(args) == 1
    error = capsys.readouterr().err
    assert "not written, the check ended with signal 4" in error
    assert "last phase: checking 2x64x64; build with another version" in error
    assert {path: path.read_bytes() for path in args.output.parent.iterdir()} == files


def test_a_check_that_is_killed_is_no_fault_of_the_engine(
    args: build.Args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_a_child(monkeypatch, tmp_path)
    Path(child.sys.executable).write_text("#!/bin/sh\nkill -9 $$\n")
    assert build.main(args) == 2
    assert "the check ended with signal 9 (9 is usually lack of memory)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"comparison": CheckOptions(check=False)}, "built with --no-check"),
        (
            {"build": BuildOptions(flavour="tensorrt_rtx", bodies=True, capabilities=("8.9",))},
            "built ahead of time, for GPUs of other machines",
        ),
    ],
)
def test_a_build_without_a_check_says_so_wherever_it_is_used(
    args: build.Args,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    reason: str,
) -> None:
    monkeypatch.setattr(verified_check, "check_in_child", lambda *_: pytest.fail("nothing is checked"))
    assert build.main(replace(args, **changes)) == 0  # type: ignore[arg-type]
    assert f"not checked: {reason}\n" in capsys.readouterr().out
    sidecar = read_sidecar(args.output)
    assert (sidecar.corners, sidecar.unchecked) == ((), reason)
    write_sidecar(replace(sidecar, flavour="tensorrt"), args.output)
    engines.load(args.output, device="cuda")
    assert capsys.readouterr().err == (
        f"remark: {args.output}: no check has passed ({reason}); check it: python -m engines.check {args.output}\n"
    )


def test_a_machine_without_a_gpu_checks_nothing(args: build.Args, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified_build, "cuda_device", lambda: None)
    assert build.main(args) == 0
    assert read_sidecar(args.output).unchecked == "built on a machine without a GPU"


def test_what_a_check_needs_is_missed_before_the_build(
    args: build.Args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verified_build, "build_in_child", lambda *_: pytest.fail("minutes of building"))
    assert build.main(replace(args, comparison=CheckOptions(images=tmp_path / "empty"))) == 2
    assert "no pictures" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert build.main(args) == 2
    error = capsys.readouterr().err
    assert "needs onnxruntime" in error
    assert "or leave it out with --no-check" in error


def test_a_later_check_completes_the_sidecar(unchecked: check.Args, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_sidecar(unchecked.model)
    assert check.main(unchecked) == 0
    sidecar = read_sidecar(unchecked.model)
    assert [corner.shape for corner in sidecar.corners] == SHAPES
    assert replace(sidecar, corners=(), unchecked=before.unchecked) == before
    assert table(sidecar.corners) in capsys.readouterr().out
    # The comparison of later checks takes the place of earlier ones.
    assert check.main(unchecked) == 0
    assert read_sidecar(unchecked.model) == sidecar


def test_a_later_check_that_fails_leaves_nothing_good(
    unchecked: check.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(unchecked) == 0
    distort(monkeypatch, second_row)
    assert check.main(unchecked) == 1
    line = f"at batch 2, height 32, width 32: beside {ORT} 0 of 3"
    assert f"error: {unchecked.model}: {line}" in capsys.readouterr().err
    sidecar = read_sidecar(unchecked.model)
    assert not sidecar.corners
    assert str(sidecar.unchecked).startswith(f"it failed a check: {line}")
    engines.load(unchecked.model, device="cuda")
    assert f"no check has passed (it failed a check: {line}" in capsys.readouterr().err


def test_a_later_check_needs_a_gpu(
    unchecked: check.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sidecar_path(unchecked.model).read_bytes()
    monkeypatch.setattr(verified_check, "cuda_device", lambda: None)
    assert check.main(unchecked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {unchecked.model}: a check runs the engine, and this machine has no GPU")
    assert sidecar_path(unchecked.model).read_bytes() == content


def test_a_later_check_refuses_other_files(
    unchecked: check.Args, toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sidecar_path(unchecked.model).read_bytes()
    other = tmp_path / "other.onnx"
    shutil.copy(toy_onnx(recipe="another"), other)
    assert check.main(replace(unchecked, onnx=other)) == 2
    assert f"{other}: is not what {unchecked.model} was built from: its SHA-256" in capsys.readouterr().err
    assert check.main(replace(unchecked, onnx=tmp_path / "absent.onnx")) == 2
    assert "absent.onnx; name that file with --onnx" in capsys.readouterr().err
    toy_onnx()
    unchecked.model.write_bytes(unchecked.model.read_bytes() + b" ")
    assert check.main(unchecked) == 2
    assert f"error: {unchecked.model}: does not fit: its SHA-256 is" in capsys.readouterr().err
    assert sidecar_path(unchecked.model).read_bytes() == content


@pytest.mark.parametrize(
    ("name", "line"),
    [("a.pt2", "compared with eager PyTorch when it is compiled"), ("a.onnx", "expected a TensorRT engine")],
)
def test_other_files_are_no_engines(name: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(check.Args(model=Path(name))) == 2
    assert f"error: {name}: " in (error := capsys.readouterr().err)
    assert line in error


def test_an_engine_of_trtexec_by_hand_gets_a_sidecar_if_it_passes(
    unchecked: check.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verified_check, "describe_in_child", describe_engine)
    sidecar_path(unchecked.model).unlink()
    assert check.main(unchecked) == 2
    assert "has no sidecar" in capsys.readouterr().err
    trusting = replace(unchecked, trust_engine=True)
    with monkeypatch.context() as wrong:
        distort(wrong, second_row)
        # Files of fp32 count as tf32, in which 5 px are too much as well.
        assert check.main(trusting) == 1
    assert not sidecar_path(unchecked.model).exists()
    assert check.main(trusting) == 0
    sidecar = read_sidecar(unchecked.model)
    assert sidecar.engine_sha256 == sha256(unchecked.model)
    assert (sidecar.onnx, sidecar.version, sidecar.gpu, sidecar.tf32) == ("toy.onnx", "10.13.0", "NVIDIA L4", True)
    assert [corner.shape for corner in sidecar.corners] == [
        (batch, size, size) for size in (32, 64, 96) for batch in (1, 2)
    ]
    capsys.readouterr()
    engine = engines.load(unchecked.model, device="cuda")
    assert isinstance(engine.bounds, Bounds)
    assert engine.bounds.height == (32, 64, 96)
    assert not capsys.readouterr().err
