"""A batch job as a command, and the processes that it consists of (Linux)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from refinemask.files import UserError
from refinemask.foreign import one_line

ROOT = Path(__file__).resolve().parents[2]
PROC = Path("/proc")
KINDS = {"refinemask.batch.child": "worker process", "raylet/raylet": "raylet", "gcs_server": "gcs"}
"""Kinds of processes by what their command lines hold."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job is of."""

    images: Path
    """The list."""
    model: Path
    folder: Path
    """The job's own folder."""
    actors: int
    threads: int
    shard_size: int


@contextmanager
def started(job: Job) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a job; leaving the block waits for its end.

    Raises:
        UserError: the job failed.
    """
    command = [sys.executable, "-m", "refinemask.batch", str(job.images), "--model", str(job.model)]
    command += ["--output", str(job.folder), "--actors", str(job.actors), "--threads", str(job.threads)]
    command += ["--shard-size", str(job.shard_size)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with TemporaryFile() as said:
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": said}
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **pipes) as process:
            try:
                yield process
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise UserError(
                f"the job ended with exit code {process.returncode}: {one_line(lines[-1] if lines else '')}"
            )


def resident_mib(driver: int) -> dict[str, int]:
    """Resident memory of the processes of a job by kind, in MiB; of several of a kind the largest."""
    parents = _parents()
    found = {"driver": _resident(driver)}
    for pid in _descendants(driver, parents):
        words = _command(pid)
        kind = next((kind for sign, kind in KINDS.items() if sign in words), None)
        if kind is None:
            continue
        found[kind] = max(found.get(kind, 0), _resident(pid))
        if kind == "worker process":
            found["actor"] = max(found.get("actor", 0), _resident(parents[pid]))
    return found


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir(PROC):
        with suppress(OSError):
            if name.isdigit():
                found[int(name)] = int((PROC / name / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _descendants(ancestor: int, parents: dict[int, int]) -> Iterator[int]:
    for pid, parent in parents.items():
        if parent == ancestor:
            yield pid
            yield from _descendants(pid, parents)


def _command(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    return 0
