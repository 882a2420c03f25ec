"""Foreign load and peak memory, from a made-up /proc and from this machine's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.harness.load
from benchmarks.harness.load import ForeignLoad, peak_memory_bytes, used_device_memory

needs_proc = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc")


def write_proc(proc: Path, *, busy: int, idle: int, own: int) -> None:
    (proc / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    (proc / "7").mkdir(exist_ok=True)
    (proc / "7" / "stat").write_text(f"7 (a (strange) name) S 1 1 1 0 -1 0 0 0 0 0 {own} 0 0 0 20 0 1 0 0 0")


@pytest.mark.parametrize(("busy", "own", "fraction"), [(150, 100, 0.25), (100, 100, 0.0), (200, 0, 1.0)])
def test_foreign_load_is_what_is_busy_but_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int, own: int, fraction: float
) -> None:
    monkeypatch.setattr(benchmarks.harness.load, "PROC", tmp_path)
    write_proc(tmp_path, busy=1000, idle=1000, own=500)
    load = ForeignLoad([7])
    write_proc(tmp_path, busy=1000 + busy, idle=1200 - busy, own=500 + own)
    assert load.fraction() == pytest.approx(fraction)


def test_unknown_where_there_is_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.harness.load, "PROC", tmp_path / "absent")
    assert ForeignLoad([7]).fraction() is None
    assert peak_memory_bytes() is None


@pytest.mark.parametrize("modules", [{}, {"torch": None}])
def test_device_memory_is_unknown_without_pytorch_or_a_gpu(
    modules: dict[str, None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert used_device_memory("cuda") is None


@needs_proc
def test_our_own_work_is_not_foreign() -> None:
    with_us, without_us = ForeignLoad([os.getpid()]), ForeignLoad([])
    deadline = os.times().user + 0.3
    while os.times().user < deadline:
        pass
    ours, foreign = without_us.fraction(), with_us.fraction()
    assert ours is not None
    assert foreign is not None
    assert ours - foreign > 0.1 / (os.cpu_count() or 1)


@needs_proc
def test_peak_memory_is_of_that_process_alone() -> None:
    ballast = b"x" * (300 << 20)
    script = "import sys; data = b'x' * (100 << 20); del data; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        peak = peak_memory_bytes(child.pid)
        child.kill()
    assert peak is not None
    assert 100 << 20 < peak < 200 << 20 < len(ballast)
