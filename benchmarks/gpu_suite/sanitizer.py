"""Every kernel on awkward problems (``awkward/main.cu``): alone, within a capture, and under compute-sanitizer."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.gpu_suite.context import Context, NotRunError
from refinemask.files import FailedCheckError, UserError
from trt_plugins import PACKAGE
from trt_plugins.libraries import find_nvcc

PROGRAM = Path(__file__).with_name("awkward") / "main.cu"
FLAGS = ("-std=c++17", "-O3", "--fmad=false", "-lineinfo")
JOB = "awkward problems"
"""Name of the job that compiles the program."""
SANITIZER = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck")
ERRORS_FOUND = 3
"""Exit code of compute-sanitizer where it found errors, whatever the program's own is."""
SECONDS = 60
"""Seconds that a run may take; each is usually a few."""
LAST_LINES = 8
"""Lines of a run's output that are kept."""


@dataclass(frozen=True, kw_only=True)
class SanitizerRun:
    """One run of the program."""

    name: str
    """``plain``, ``capture``, or the tool of compute-sanitizer that it ran under."""
    passed: bool | None
    """Whether it ended in time and found nothing; None if it could not be started."""
    seconds: float
    output: tuple[str, ...]
    """Last lines of its output, or the reason why it could not be started."""


@dataclass(frozen=True, kw_only=True)
class SanitizerReport:
    """All runs of the program."""

    runs: tuple[SanitizerRun, ...]

    @property
    def failed(self) -> tuple[SanitizerRun, ...]:
        """The runs that found something, or did not end."""
        return tuple(run for run in self.runs if run.passed is False)

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        words = {True: "passed", False: "FAILED", None: "not run"}
        return ", ".join(f"{run.name} {words[run.passed]}" for run in self.runs)


def prepare_sanitizer(context: Context) -> None:
    """Begin to compile the program for the present GPU; do nothing where there is none."""
    if context.cuda:
        major, minor = torch.cuda.get_device_capability()
        context.begin(JOB, compile_program, context.scratch, f"sm_{major}{minor}")


def run_sanitizer(context: Context) -> SanitizerReport:
    """Run the program in every way.

    Raises:
        NotRunError: there is no GPU, or the program was not compiled in time.
        UserError: there is no compiler, or it failed.
        FailedCheckError: a run found something; the report is kept.
    """
    if not context.cuda:
        raise NotRunError("compute-sanitizer needs a CUDA device")
    report = run_program(context.answer(JOB))
    if report.failed:
        context.keep(report)
        first = report.failed[0]
        raise FailedCheckError(f"{report.headline}; {first.name} ended with: {' / '.join(first.output[-2:])}")
    return report


def compile_program(directory: Path, architecture: str) -> Path:
    """Compile the program and the kernels, with line numbers.

    Args:
        directory: where the program is written.
        architecture: the GPU's, such as ``sm_90``.

    Returns:
        The program.

    Raises:
        UserError: there is no compiler, or it failed.
    """
    program = directory / "awkward"
    kernels = PACKAGE / "kernels"
    sources = [PROGRAM, *sorted(kernels.glob("*.cu"))]
    command = [find_nvcc(), *FLAGS, f"-arch={architecture}", f"-I{kernels}", *sources, "-o", program]
    result = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        last = result.stdout.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise UserError(f"{PROGRAM}: nvcc failed for {architecture}: {last[0]}")
    return program


def run_program(program: Path, seconds: float = SECONDS) -> SanitizerReport:
    """Run the compiled program alone, within a capture and under each tool; each run may take ``seconds``."""
    runs = [_run("plain", [program], seconds), _run("capture", [program, "capture"], seconds)]
    sanitizer = _find_sanitizer()
    for tool in TOOLS:
        if sanitizer is None:
            reason = f"{SANITIZER} is neither in PATH nor beside nvcc"
            runs.append(SanitizerRun(name=tool, passed=None, seconds=0, output=(reason,)))
        else:
            options = ["--tool", tool, "--error-exitcode", str(ERRORS_FOUND)]
            runs.append(_run(tool, [sanitizer, *options, program], seconds))
    return SanitizerReport(runs=tuple(runs))


def _find_sanitizer() -> Path | None:
    found = shutil.which(SANITIZER)
    if found:
        return Path(found)
    try:
        beside = find_nvcc().resolve().with_name(SANITIZER)
    except UserError:
        return None
    return beside if beside.is_file() else None


def _run(name: str, command: Sequence[object], seconds: float) -> SanitizerRun:
    # Kernels are loaded when they are first used, so that a capture meets them cold.
    environment = os.environ | {"CUDA_MODULE_LOADING": "LAZY"}
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return SanitizerRun(name=name, passed=None, seconds=0, output=(str(error),))
    try:
        text, _ = process.communicate(timeout=seconds)
        end = "" if process.returncode == 0 else f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        # The program is a child of compute-sanitizer, and would go on without it.
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        end = f"not done after {seconds:g} s"
    output = [*text.strip().splitlines(), *([end] if end else [])]
    spent = round(time.monotonic() - start, 2)
    return SanitizerRun(name=name, passed=not end, seconds=spent, output=tuple(output[-LAST_LINES:]))
