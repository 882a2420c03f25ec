"""Batch jobs as commands, their processes, and what their folder holds."""

import hashlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import is_alive, wait_until

ROOT = Path(__file__).resolve().parents[2]
MARK = "REFINEMASK_TEST_JOB"
CHILD = "refinemask.batch.child"


@dataclass
class RunningJob:
    """A job that was started, with all that it started in turn."""

    process: "subprocess.Popen[str]"
    folder: Path
    mark: str

    def shards(self) -> int:
        """Number of finished pieces."""
        results = self.folder / "results"
        return len(list(results.glob("part-*.parquet"))) if results.is_dir() else 0

    def wait_for_shards(self, count: int) -> None:
        """Wait until so many pieces are finished, while the job runs."""
        assert wait_until(lambda: self.shards() >= count or self.process.poll() is not None, 120), self.shards()
        assert self.process.poll() is None, self.process.communicate()

    def children(self) -> list[int]:
        """The worker processes, in no order."""
        return worker_processes(self.mark)

    def actors(self) -> list[int]:
        """The actors that have a worker process."""
        return [parent_of(pid) for pid in self.children()]

    def end(self) -> str:
        """Wait for the end, which must be a good one; what was printed."""
        out, err = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, err
        return out


@contextmanager
def job(
    images: Path, model: Path, folder: Path, *options: str, seconds: float = 0.0, **variables: str
) -> Iterator[RunningJob]:
    """Start a job of the images of a list; whatever of it is there when the block ends is killed.

    Args:
        images: the list.
        model: the model.
        folder: the job's folder; the COCO results go to ``results.json`` beside it.
        options: other options of the command.
        seconds: how long each image takes beside its computation.
        variables: environment variables of the job.
    """
    mark = uuid.uuid4().hex
    own = {"PYTHONPATH": f"{ROOT / 'tests/support/slow_images'}{os.pathsep}{ROOT}", "SECONDS_AN_IMAGE": str(seconds)}
    # Sockets of Ray have long names, which pytest's folders would make too long.
    with tempfile.TemporaryDirectory(prefix="rm", ignore_cleanup_errors=True) as scratch:
        environment = {**os.environ, **own, MARK: mark, "RAY_TMPDIR": scratch, "OMP_NUM_THREADS": "1", **variables}
        words = [str(images), "--model", str(model), "--output", str(folder), "--to-coco", str(coco(folder)), *options]
        command = [sys.executable, "-m", "refinemask.batch", *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
            try:
                yield RunningJob(process, folder, mark)
            finally:
                process.kill()
                end(mark)


def coco(folder: Path) -> Path:
    """The COCO results of the job of a folder."""
    return folder.with_suffix(".json")


def digest(path: Path) -> str:
    """A file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def processes(mark: str) -> list[int]:
    """The living processes whose environment has the mark."""
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and f"{MARK}={mark}".encode() in Path(f"/proc/{name}/environ").read_bytes():
                found.append(int(name))
    return [pid for pid in found if is_alive(pid)]


def worker_processes(mark: str) -> list[int]:
    """The processes with the mark that have a model."""
    return [pid for pid in processes(mark) if CHILD in command_of(pid)]


def command_of(pid: int) -> list[str]:
    """The words with which a process was started; none if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def parent_of(pid: int) -> int:
    """The process that started another one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def end(mark: str) -> None:
    """Kill what has the mark."""

    def kill() -> bool:
        left = processes(mark)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        return not left

    assert wait_until(kill, 60)
