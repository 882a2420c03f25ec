"""An engine in a process of its own: the same answers, and what happens when it cannot answer."""

import os
import signal
from pathlib import Path

import pytest

import engines
from benchmarks.harness.pipeline import PHASES, process
from benchmarks.harness.spec import EngineSpec
from benchmarks.harness.worker import Worker
from refinemask.files import UserError


def test_answers_what_the_engine_answers_here(toy_onnx: Path, pictures: list[Path]) -> None:
    _, expected = process(engines.load(toy_onnx, threads=1), pictures[:2])
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        sample, results = worker.process(pictures[:2])
        peak = worker.peak_memory_bytes()
    assert (worker.name, worker.precision) == ("ONNX Runtime", "fp32")
    assert results == expected
    assert sample.detections == [3, 3]
    assert tuple(sample.padded) == (800, 1216)
    assert set(sample.seconds) == set(PHASES)
    assert min(sample.seconds.values()) > 0
    assert peak is None or peak > 20 << 20
    assert worker.device_memory_bytes() is None


def test_a_fixed_canvas_pads_further(toy_onnx: Path, pictures: list[Path]) -> None:
    sample, _ = process(engines.load(toy_onnx, threads=1), pictures[:1], canvas=(800, 1344))
    assert sample.padded == (800, 1344)


def test_device_memory_is_what_appears_while_the_child_works(
    toy_onnx: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = iter([100, 160, 500, 540])
    monkeypatch.setattr("benchmarks.harness.worker.used_device_memory", lambda device: next(used))
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        worker.process(pictures[:1])
    assert worker.device_memory_bytes() == 60 + 40


def test_a_wrong_file_is_reported_by_the_child(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.onnx: no such file"):
        Worker(EngineSpec(tmp_path / "absent.onnx"), threads=1)


def test_a_bad_image_is_reported_and_the_child_goes_on(toy_onnx: Path, pictures: list[Path]) -> None:
    broken = pictures[0].with_name("broken.png")
    broken.write_bytes(pictures[0].read_bytes()[:50])
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        with pytest.raises(UserError, match=r"broken\.png"):
            worker.process([broken])
        assert worker.process(pictures[:1])[0].detections == [3]


def test_a_child_ends_in_good_order(toy_onnx: Path) -> None:
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        pass
    assert worker._process.returncode == 0


def test_a_child_that_does_not_end_is_killed(toy_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.worker.SECONDS_TO_END", 0.1)
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
    assert worker._process.returncode == -signal.SIGKILL


def test_ctrl_c_is_left_to_the_parent(toy_onnx: Path, pictures: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        os.kill(worker.pid, signal.SIGINT)
        assert worker.process(pictures[:1])[0].detections == [3]
    assert worker._process.returncode == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_killed_child_is_reported(toy_onnx: Path, pictures: list[Path]) -> None:
    with Worker(EngineSpec(toy_onnx), threads=1) as worker:
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"toy\.onnx: its process ended with signal 9"):
            worker.process(pictures[:1])


def test_a_number_of_threads_that_no_machine_has_is_an_error(toy_onnx: Path) -> None:
    with pytest.raises(UserError, match=f"on {10**20} threads"):
        Worker(EngineSpec(toy_onnx), threads=10**20)
