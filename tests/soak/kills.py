"""Kills at random moments: ``python -m tests.soak.kills --kills 120 -o benchmarks/results/kills.json``.

Each job runs once undisturbed. Then it is cut off by SIGKILL, SIGTERM or Ctrl-C, again and again. It goes on with what
lies in its directory until it ends by itself. After each kill no process is left and every file is whole. After each
end the figures are those of the undisturbed run, and nothing else is left in the directory.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness.provenance import provenance
from refinemask.command import execute
from refinemask.files import FailedCheckError, atomic_write
from refinemask.spelling import OptionalOutput
from tests.soak.jobs import Job, damaged, make_jobs
from tests.support.processes import session, wait_until

ROOT = Path(__file__).resolve().parents[2]
CODES = {signal.SIGKILL: {-9}, signal.SIGTERM: {143, -15}, signal.SIGINT: {130, -2}}
"""Exit codes after each signal, besides 0 of a run that had ended; Python itself ends by the signal as it starts."""
PATIENCE = 120
"""Seconds after which a process counts as one that never ends."""
SECONDS_TO_FOLLOW = 10
"""Seconds for children to follow their parent, on a busy machine."""
LASTING = {".lock"}


@dataclass(frozen=True)
class Args:
    """Kill trainings, evaluations, exports and predictions at random moments, and compare what becomes of them."""

    kills: int = 120
    """Number of kills, divided among the jobs."""
    seed: int = 0
    """Seed of moments and signals."""
    output: OptionalOutput = None
    """Write the table as JSON."""


class Faults(Counter[str]):
    """Counts of a job, among them what must not be, each told as it is found."""

    KINDS = (
        "processes left",
        "never ended",
        "wrong exit code",
        "traceback",
        "damaged file",
        "other figures",
        "left file",
    )

    def found(self, kind: str, what: object) -> None:
        """Count a fault."""
        self[kind] += 1
        print(f"  {kind}: {what}", flush=True)

    def table(self) -> dict[str, int]:
        """Every count, those that are zero included."""
        return {**self, **{kind: self[kind] for kind in self.KINDS}}


def main(args: Args | None = None) -> int:
    """The command line; 1 if anything is other than it should be."""
    return execute(Args, _run, args, __doc__)


def _run(args: Args) -> None:
    jobs = campaign(args.kills, args.seed)
    print(json.dumps(jobs, indent=1))
    if args.output is not None:
        with atomic_write(args.output) as temporary:
            temporary.write_text(json.dumps({"provenance": asdict(provenance()), **jobs}, indent=1) + "\n")
    faults = sum(job[kind] for job in jobs.values() for kind in Faults.KINDS)
    if faults:
        raise FailedCheckError(f"{faults} faults after {args.kills} kills, expected none; they stand above")


def campaign(kills: int, seed: int) -> dict[str, dict[str, int]]:
    """What became of so many kills: counts by job."""
    with TemporaryDirectory() as scratch:
        jobs = make_jobs(Path(scratch) / "inputs")
        shares = [kills // len(jobs) + (index < kills % len(jobs)) for index in range(len(jobs))]
        counts = {}
        for job, share in zip(jobs, shares, strict=True):
            print(f"{job.name}: {share} kills", flush=True)
            counts[job.name] = _Attack(job, Path(scratch) / job.name, random.Random(f"{seed} {job.name}")).run(share)
    return counts


class _Attack:
    """One job under fire."""

    def __init__(self, job: Job, scratch: Path, dice: random.Random) -> None:
        self._job, self._scratch, self._dice = job, scratch, dice
        self._counts = Faults()
        self._runs = 0
        self._temporary = scratch / "tmp"
        self._temporary.mkdir(parents=True)
        self._figures: Any = None

    def run(self, kills: int) -> dict[str, int]:
        """Kill so many times, then let the last run end; the counts."""
        self._whole = self._directory()
        start = time.monotonic()
        if not self._finish(self._whole, self._start(self._whole)):
            return self._counts.table()
        self._seconds = time.monotonic() - start
        output = self._directory()
        for _ in range(kills):
            if self._kill(output):
                output = self._directory()
        self._finish(output, self._start(output))
        return self._counts.table()

    def _directory(self) -> Path:
        self._runs += 1
        return self._scratch / f"run-{self._runs}"

    def _start(self, output: Path) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(self._temporary)}
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self._job.command(output), env=environment, cwd=ROOT, start_new_session=True, **pipes)

    def _kill(self, output: Path) -> bool:
        """Cut a run off at a random moment; whether it had come to its end before."""
        number = self._dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        # A terminal and some schedulers send a signal to all processes at once.
        send: Callable[[int, int], None] = self._dice.choice([os.kill, os.killpg])
        if number == signal.SIGKILL:
            send = os.kill
        process = self._start(output)
        time.sleep(self._dice.uniform(0.05, 1) * self._seconds)
        if process.poll() is None:
            self._counts[f"{number.name}"] += 1
            send(process.pid, number)
        else:
            self._counts["ended before its kill"] += 1
        done = self._finish(output, process, CODES[number])
        for what in damaged(output, self._whole):
            self._counts.found("damaged file", what)
        return done

    def _finish(self, output: Path, process: "subprocess.Popen[str]", codes: set[int] | None = None) -> bool:
        """Wait for the end of a run, which may have one of these codes; whether it came to its own end."""
        counts = self._counts
        try:
            _, told = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            counts.found("never ended", process.args)
            told = ""
        if not wait_until(lambda: not session(process.pid), SECONDS_TO_FOLLOW):
            counts.found("processes left", session(process.pid))
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.communicate()
        if "Traceback" in told:
            counts.found("traceback", told)
        if process.returncode not in {0, *(codes or ())}:
            counts.found("wrong exit code", (process.returncode, told[-2000:]))
        if process.returncode:
            return False
        counts["runs to the end"] += 1
        figures = self._job.figures(output)
        self._figures = self._figures or figures
        if figures != self._figures:
            counts.found("other figures", difference(figures, self._figures))
        for path in output.rglob(".*"):
            if path.name not in LASTING:
                counts.found("left file", path)
        return True


def difference(found: Any, expected: Any, place: str = "") -> str:
    """Where two figures of the same form differ first, and how."""
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        pairs = [(key, found[key], expected[key]) for key in found]
    elif isinstance(found, list | tuple) and isinstance(expected, list | tuple) and len(found) == len(expected):
        pairs = list(zip(range(len(found)), found, expected, strict=True))
    else:
        return f"{place}: {str(found)[:300]}, expected {str(expected)[:300]}"
    return next(difference(mine, other, f"{place}/{key}") for key, mine, other in pairs if mine != other)


if __name__ == "__main__":
    sys.exit(main())
