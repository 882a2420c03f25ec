"""What every part of the GPU suite is given: the device, the time that is left, and what earlier parts have made."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from benchmarks.gpu_suite.plan import Device, Plan
from benchmarks.gpu_suite.timing import CpuTimer, CudaTimer, Timer
from benchmarks.harness.child import Child
from refinemask.files import FailedCheckError, UserError
from trt_plugins import kernels_path
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

Options = ParamSpec("Options")
Answer = TypeVar("Answer")
PREPARATION_SHARE = 0.6
"""Share of the suite's time after which child processes that still run are ended."""
TRACE_LINES = 8
"""Last lines of a traceback that are kept."""
REASON_LENGTH = 500
"""Characters of an error's text that are kept: compilers write pages."""
NICENESS, MOST_NICENESS = 2, 19
"""Niceness of a job over the one before it, and of any job."""
KERNEL_LIBRARY = "kernel library"
"""Name of the job that builds the kernel library."""


class NotRunError(Exception):
    """What this machine, or the time that is left, does not allow, and why."""


class Report(Protocol):
    """A part's results: a frozen dataclass that :mod:`benchmarks.harness.report_file` can write."""

    @property
    def headline(self) -> str:
        """The key figures in one line."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a part, or a step of one, ended."""

    name: str
    """Name of the part, or ``part: step``."""
    status: Literal["done", "failed", "not run"]
    seconds: float
    reason: str | None = None
    """Reason why it failed or was not run; None if it is done."""
    trace: tuple[str, ...] = ()
    """Last lines of the traceback of what broke it."""


Found = TypeVar("Found")


@dataclass
class Context:
    """The suite's state. Parts run one after the other, so nothing here needs a lock."""

    plan: Plan
    scratch: Path
    """Directory for what is built on the way; it is deleted at the end."""
    save: Callable[[], None] = lambda: None
    """Called whenever there is something new to write."""
    library: Path | None = None
    """The kernels' library; None is the built one."""
    part: str = ""
    """Name of the part that runs."""
    reports: dict[type, Any] = field(default_factory=dict)
    """Reports by their type."""
    outcomes: list[Outcome] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)
    _jobs: dict[str, Child[Any]] = field(default_factory=dict)
    _noted: set[str] = field(default_factory=set)
    """Names of the jobs whose end has been noted."""

    @property
    def device(self) -> Device:
        """``cuda`` or ``cpu``."""
        return self.plan.device

    @property
    def tiny(self) -> bool:
        """Whether sizes are those that a CPU can walk."""
        return self.plan.tiny

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.plan.device == "cuda"

    def timer(self, rounds: int = 60) -> Timer:
        """A timer of the device; two rounds where sizes are tiny."""
        rounds, warmup = (2, 1) if self.tiny else (rounds, 5)
        return CudaTimer(rounds, warmup) if self.cuda else CpuTimer(rounds, warmup)

    def left(self) -> float:
        """Seconds until the suite's time is over."""
        return self.plan.minutes * 60 - (time.monotonic() - self.start)

    def keep(self, report: Report) -> None:
        """Keep a report, whole or as far as it has come, in place of an earlier one of its type, and write it."""
        self.reports[type(report)] = report
        self.save()

    def report(self, kind: type[Found]) -> Found | None:
        """The report of this type, as far as it has come; None if there is none."""
        return self.reports.get(kind)

    def attempt(self, name: str, action: Callable[[], Answer], seconds: float = 0) -> Answer | None:
        """Do something that may break or be impossible here; how it ended is noted, and the suite goes on.

        Args:
            name: name of the step, which is noted under the running part's.
            action: what to do.
            seconds: least time that must be left.

        Returns:
            The action's answer; None if it has none, was not run or failed.
        """
        return self._guarded(f"{self.part}: {name}", action, seconds)

    def run_part(self, part: str, action: Callable[[], Report], seconds: float) -> None:
        """Run a part as :meth:`attempt` runs a step of one, keep its report and print its line."""
        self.part = part
        report = self._guarded(part, action, seconds)
        if report is not None:
            self.keep(report)
        last = self.outcomes[-1]
        text = report.headline if report is not None else f"{last.status}: {last.reason}"
        print(f"[{part}] {last.seconds:.1f} s, {self.left():.0f} s left: {text}", flush=True)

    def _guarded(self, name: str, action: Callable[[], Answer], seconds: float) -> Answer | None:
        began, answer = time.monotonic(), None
        status: Literal["done", "failed", "not run"] = "done"
        reason: str | None = None
        trace: tuple[str, ...] = ()
        try:
            if self.left() <= max(seconds, 0):
                raise NotRunError(f"{max(self.left(), 0):.0f} s were left; it needs {seconds:.0f} s")
            answer = action()
        except (NotRunError, UserError) as error:
            status, reason = "not run", str(error)
        except FailedCheckError as error:
            status, reason = "failed", str(error)
        except Exception as error:
            # What breaks must not take the other results with it.
            status, reason, trace = "failed", f"{type(error).__name__}: {error}", _trace(error)
        spent = round(time.monotonic() - began, 2)
        # Files of the scratch directory by their names alone: reports outlive it.
        line = reason and " ".join(reason.replace(f"{self.scratch}/", "").split())[:REASON_LENGTH]
        self.outcomes.append(Outcome(name=name, status=status, seconds=spent, reason=line, trace=trace))
        self.save()
        return answer

    def begin(
        self, job: str, function: Callable[Options, object], *args: Options.args, **options: Options.kwargs
    ) -> None:
        """Begin slow preparation in a process of its own, which ends before anything is timed.

        The earlier a job is begun, the more of the processors it gets.

        Args:
            job: the name by which :meth:`answer` finds it.
            function: a function of a module; it, its arguments and its answer are pickled.
            args: the function's arguments.
            options: the function's keyword arguments.
        """
        niceness = min(NICENESS * len(self._jobs), MOST_NICENESS)
        self._jobs[job] = Child(partial(function, *args, **options), function.__name__, niceness)

    def has_begun(self, job: str) -> bool:
        """Whether :meth:`begin` was called for a job of this name."""
        return job in self._jobs

    def answer(self, job: str) -> Any:
        """Wait for what :meth:`begin` began.

        Raises:
            NotRunError: nothing of that name was begun, or its time was over; it was ended.
            UserError: the process ended before it answered, or the function raises one.
            Exception: what the function raises.
        """
        if job not in self._jobs:
            raise NotRunError(f"{job}: not begun")
        left = self.plan.minutes * 60 * PREPARATION_SHARE - (time.monotonic() - self.start)
        try:
            return self._jobs[job].result(max(left, 0))
        except TimeoutError as error:
            raise NotRunError(f"{job}: not done when {PREPARATION_SHARE:.0%} of the time was over") from error

    def wait_for_jobs(self) -> None:
        """Wait until every job has ended, so that nothing disturbs a timing, and note how each ended."""
        for name, job in self._jobs.items():
            if name in self._noted:
                continue
            self._noted.add(name)
            self._guarded(f"job: {name}", partial(self.answer, name), 0)
            last = replace(self.outcomes[-1], seconds=round(job.seconds, 2))
            self.outcomes[-1] = last
            print(f"[job: {name}] {last.seconds:.1f} s: {last.reason or last.status}", flush=True)

    def end_jobs(self) -> None:
        """End what still runs."""
        for job in self._jobs.values():
            job.end()

    def kernels(self) -> TorchKernels:
        """The kernels on tensors of the device.

        Raises:
            NotRunError: the device is a CPU and no library was given, or the library could not be built.
        """
        if self.library is None:
            if not self.cuda:
                raise NotRunError("the kernels need a CUDA device")
            if KERNEL_LIBRARY in self._jobs:
                self.answer(KERNEL_LIBRARY)
        try:
            return TorchKernels(Kernels(self.library or kernels_path()))
        except FileNotFoundError as error:
            raise NotRunError(str(error)) from error


def _trace(error: BaseException) -> tuple[str, ...]:
    """The last lines of the traceback where the trouble began, in a child process if it was there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return tuple("".join(traceback.format_exception(error)).strip().splitlines()[-TRACE_LINES:])
