"""What can go wrong around a check: signals, other processes, folders, packages, pictures. On stand-ins for a GPU."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines import build, check
from engines.build import CheckOptions
from engines.trt import verified_build, verified_check
from engines.trt.child import EndedEarlyError
from engines.trt.corners import Corner
from engines.trt.sidecar import read_sidecar, sidecar_path, write_sidecar
from refinemask.files import FailedCheckError
from tests.support.fake_tensorrt import FakeEngine
from tests.support.processes import is_alive, needs_proc, wait_until

ROOT = Path(__file__).resolve().parents[3]
CHECK = """
import os, sys
from pathlib import Path
from engines import check
from engines.trt import child, verified_check
from engines.trt.device import CudaDevice

verified_check.require_checkable = lambda *_: None
verified_check.cuda_device = lambda: CudaDevice("NVIDIA L4", "8.9", "13.0", "580.65")
child.sys = type("System", (), {"executable": sys.argv[1]})
raise SystemExit(check.main(check.Args(model=Path(sys.argv[2]), images=Path(sys.argv[3]))))
"""
Outputs = dict[str, np.ndarray]


def distort(monkeypatch: pytest.MonkeyPatch, change: Callable[[Outputs], None]) -> None:
    monkeypatch.setattr(FakeEngine, "distort", staticmethod(change))


def second_row(outputs: Outputs) -> None:
    outputs["boxes"][1:2] += 5


@needs_proc
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_check_that_is_told_to_end_leaves_no_process_and_no_file(
    unchecked: check.Args, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Only the parent is told, and its child would work on for minutes."""
    slow, told = tmp_path / "slow", tmp_path / "child"
    slow.write_text(f'#!/bin/sh\necho $$ > "{told}.part"\nmv "{told}.part" "{told}"\nexec sleep 600\n')
    slow.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = {path: path.read_bytes() for path in unchecked.model.parent.glob("toy.*")}
    command = [sys.executable, "-c", CHECK, str(slow), str(unchecked.model), str(unchecked.images)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as parent:
        assert wait_until(told.exists), parent.communicate()
        child = int(told.read_text())
        assert is_alive(child)
        parent.send_signal(number)
        parent.wait(timeout=60)
    assert parent.returncode == code
    assert wait_until(lambda: not is_alive(child))
    assert not list(scratch.iterdir())
    assert {path: path.read_bytes() for path in unchecked.model.parent.glob("toy.*")} == before


@pytest.mark.parametrize(
    ("code", "crashed"),
    [
        (-signal.SIGSEGV, True),
        (-signal.SIGABRT, True),
        (-signal.SIGKILL, False),
        (-signal.SIGTERM, False),
        (-signal.SIGINT, False),
        (130, False),
        (1, False),
    ],
)
def test_only_a_crash_is_the_engines_fault(code: int, crashed: bool) -> None:
    assert EndedEarlyError("checking", code).crashed == crashed


def test_a_failed_check_is_told_where_its_sidecar_cannot_be_written(
    unchecked: check.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    distort(monkeypatch, second_row)
    sidecar = sidecar_path(unchecked.model)
    refused = PermissionError(13, "Permission denied")

    def refuse(*arguments: object, dir: Path, **options: object) -> tuple[int, str]:
        if dir == sidecar.parent:
            raise refused
        return mkstemp(*arguments, dir=dir, **options)  # type: ignore[call-overload]

    mkstemp = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert check.main(unchecked) == 1
    error = capsys.readouterr().err
    assert "at batch 2, height 32, width 32: beside" in error
    assert f"({sidecar}: cannot be written: Permission denied)" in error


@pytest.mark.parametrize("fails", [False, True])
def test_of_two_checks_at_the_same_time_the_first_counts(
    unchecked: check.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    really = verified_check.check_in_child

    def overtaken(*request: object) -> tuple[Corner, ...]:
        corners = really(*request)  # type: ignore[arg-type]
        sidecar = read_sidecar(unchecked.model)
        write_sidecar(replace(sidecar, corners=corners, unchecked=None), unchecked.model)
        if fails:
            raise FailedCheckError("at batch 2: it differs")
        return corners

    monkeypatch.setattr(verified_check, "check_in_child", overtaken)
    assert check.main(unchecked) == (1 if fails else 2)
    error = capsys.readouterr().err
    assert "changed during the check; check the engine again" in error
    assert ("at batch 2: it differs" in error) == fails
    assert read_sidecar(unchecked.model).corners


def test_a_picture_that_cannot_be_read_is_named(unchecked: check.Args, capsys: pytest.CaptureFixture[str]) -> None:
    assert unchecked.images is not None
    (unchecked.images / "0.png").write_bytes(b"no picture")
    assert check.main(unchecked) == 2
    assert "0.png" in capsys.readouterr().err
    assert read_sidecar(unchecked.model).unchecked == "built with --no-check"


def test_where_nothing_is_detected_nothing_was_checked(
    args: build.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the reference would find nothing either."""
    from engines.trt import check as corners_check

    def nothing(outputs: Outputs) -> None:
        outputs["num_detections"][:] = 0

    distort(monkeypatch, nothing)
    monkeypatch.setattr(corners_check, "reference", lambda path: None)
    assert build.main(args) == 2
    error = capsys.readouterr().err
    assert f"{args.comparison.images}: nothing is detected in these pictures, so nothing was compared" in error
    assert not list(args.output.parent.iterdir())


def test_one_picture_is_replayed_too(
    args: build.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert args.comparison.images is not None
    (args.comparison.images / "0.png").unlink()
    times = count(1)

    def change(outputs: Outputs) -> None:
        if len(outputs["boxes"]) == 1 and next(times) == 3:
            outputs["boxes"] += 5

    distort(monkeypatch, change)
    assert build.main(args) == 1
    assert "at batch 1, height 32, width 32: beside ONNX Runtime" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        (None, "tensorrt cannot be imported"),
        ("10.14.0.1", "is of TensorRT 10.13.0, and the Python package that checks its engine is 10.14.0"),
    ],
)
def test_the_package_that_checks_what_trtexec_builds_is_missed_before_the_build(
    args: build.Args,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    installed: str | None,
    line: str,
) -> None:
    monkeypatch.setattr(verified_build, "trtexec_version", lambda trtexec: "10.13.0")
    monkeypatch.setattr(verified_build, "build_with_trtexec", lambda *_: pytest.fail("minutes of building"))
    monkeypatch.setitem(sys.modules, "tensorrt", installed and SimpleNamespace(__version__=installed))
    through = replace(args, build=replace(args.build, trtexec="trtexec"))
    assert build.main(through) == 2
    error = capsys.readouterr().err
    assert line in error
    assert "leave the check out with --no-check" in error


def test_a_library_that_no_engine_loads_is_refused_before_the_build(
    args: build.Args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verified_build, "build_in_child", lambda *_: pytest.fail("minutes of building"))
    named, here = tmp_path / "named.so", tmp_path / "here.so"
    named.write_bytes(b"one")
    with_plugins = replace(args, build=replace(args.build, bodies=False, plugins=named))

    def absent() -> Path:
        raise FileNotFoundError("librefinemask_plugins.so: not built")

    monkeypatch.setattr(verified_build, "library_path", absent)
    assert build.main(with_plugins) == 2
    assert "librefinemask_plugins.so: not built: engines load this one" in capsys.readouterr().err
    here.write_bytes(b"two")
    monkeypatch.setattr(verified_build, "library_path", lambda: here)
    assert build.main(with_plugins) == 2
    assert f"{named}: engines load {here}, another library" in capsys.readouterr().err


def test_a_machine_whose_pytorch_sees_no_gpu_needs_pycuda(
    args: build.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    assert build.main(replace(args, comparison=CheckOptions(check=False))) == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert build.main(args) == 0, "pycuda runs it"
    monkeypatch.setattr(verified_build, "build_in_child", lambda *_: pytest.fail("minutes of building"))
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    assert build.main(args) == 2
    assert "needs pycuda, which is not installed" in capsys.readouterr().err


def test_a_machine_without_a_gpu_is_told_first(
    unchecked: check.Args, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verified_check, "cuda_device", lambda: None)
    assert check.main(unchecked) == 2
    assert "a check runs the engine, and this machine has no GPU" in capsys.readouterr().err
