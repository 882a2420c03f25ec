"""How busy other processes keep the machine while we measure (Linux; unknown elsewhere)."""

import os
from collections.abc import Sequence
from pathlib import Path

BUSY_FRACTION = 0.05
"""Other processes' share of all CPUs from which a measurement is called disturbed."""
PROC = Path("/proc")


class ForeignLoad:
    """Other processes' share of the machine's CPU time since it was made.

    Args:
        pids: the processes that belong to the measurement, this one included by the caller.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = tuple(pids)
        self._start = self._read()

    def fraction(self) -> float | None:
        """Foreign CPU time over the CPU time there was, 0 to 1; None where the system does not tell."""
        now = self._read()
        if self._start is None or now is None or now[1] == self._start[1]:
            return None
        busy, available, own = (after - before for before, after in zip(self._start, now, strict=True))
        return min(1.0, max(0.0, (busy - own) / available))

    def _read(self) -> tuple[int, int, int] | None:
        try:
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
            own = sum(_cpu_ticks(pid) for pid in self._pids)
        except OSError:
            return None
        busy = user + nice + system + irq + softirq + steal
        return busy, busy + idle + iowait, own


def _cpu_ticks(pid: int) -> int:
    # The command name, in parentheses, may itself hold spaces.
    fields = (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def peak_memory_bytes(pid: int | None = None) -> int | None:
    """Largest resident set of a process so far; None where the system does not tell.

    Read from /proc because ``getrusage`` reports a parent's peak for a child that was started by fork and exec.
    """
    try:
        status = (PROC / str(pid or os.getpid()) / "status").read_text()
    except OSError:
        return None
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0][1]) * 1024 if lines else None


def used_device_memory(device: str) -> int | None:
    """Bytes in use on a GPU, by whatever process; None for the CPU, and where PyTorch is missing or sees no GPU."""
    if device == "cpu":
        return None
    try:
        # Only a measurement on a GPU needs it here.
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info(device)
    return total - free
