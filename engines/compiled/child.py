"""Compiling, and the first load of what was compiled, in child processes.

Several parts can be compiled at the same time. Their memory is given back, and a crash of the code leaves a parent to
report it. A child takes one JSON argument and answers in JSON lines. It ends when its standard input does: at the wish
of its parent, or with it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from refinemask.agreement import Comparison
from refinemask.exit_codes import INTERRUPTED
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.json_files import checked, parse_json

CORES_PER_CHILD = 4
"""Processor cores that compiling one part keeps busy."""
SECONDS_TO_END = 10
"""Time for a child to remove its temporary files."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """A line that a child writes: a result or an error."""

    result: Any = None
    """What the task yielded."""
    error: str | None = None
    """Why the task failed."""


def compile_in_children(source: dict[str, Any], jobs: Sequence[tuple[str, tuple[int, int]]]) -> Iterator[list[Any]]:
    """Compile parts for sizes, several at a time where there are many cores.

    Args:
        source: fields of :class:`engines.compiled.program.Source`, as JSON has them.
        jobs: parts and sizes.

    Yields:
        Name and files of each part, once its child is done; no files if the detector has no such part.

    Raises:
        UserError: a child failed; what it said stands in this process's standard error.
    """
    count = min(len(jobs), max(1, len(os.sched_getaffinity(0)) // CORES_PER_CHILD))
    # The children end before the threads that wait for them.
    with ThreadPoolExecutor(count) as pool, ExitStack() as stack:
        shares = [{"source": source, "jobs": jobs[index::count]} for index in range(count)]
        children = [stack.enter_context(_child("compile", share)) for share in shares]
        answers = pool.map(lambda child: list(_answers(child, "compile", source["checkpoint"])), children)
        for answer in answers:
            yield from answer


def check_in_child(package: Path, **options: Any) -> list[Comparison]:
    """Load a package for the first time, and compare it with eager PyTorch; see :func:`engines.compiled.check.check`.

    Raises:
        UserError: it cannot be loaded, or crashes.
    """
    # Compiled code relies on the strides of what it is given, and does not look at them otherwise.
    with _child("check", {"package": str(package), **options}, AOTI_RUNTIME_CHECK_INPUTS="1") as child:
        (answer,) = _answers(child, "check", options["output"])
    return [Comparison.of(fields) for fields in answer]


@contextmanager
def _child(task: str, request: dict[str, Any], **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """A child process with these variables in its environment, which ends with the block."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH"))
    environment = {
        # PyTorch would start as many compilers as there are cores, in every child.
        "TORCHINDUCTOR_COMPILE_THREADS": str(CORES_PER_CHILD),
        **os.environ,
        **variables,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    # Where the process crashes, its last words are then the Python lines that it died in.
    options = ["-W", "ignore", "-X", "faulthandler"]
    command = [sys.executable, *options, "-m", "engines.compiled.child", task, json.dumps(request)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "errors": "replace"}
    # In a session of its own, Ctrl-C does not reach it and its compilers. The parent tells it, whoever was interrupted.
    child = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    assert child.stdin is not None
    try:
        yield child
    finally:
        child.stdin.close()
        try:
            child.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _answers(child: "subprocess.Popen[str]", task: str, name: str) -> Iterator[Any]:
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            try:
                answer = checked(parse_json(line), Answer)
            except ValueError as error:
                raise UserError(f"{name}: not written, the {task} answered {one_line(line)!r}") from error
            if answer.error is not None:
                raise UserError(answer.error)
            yield answer.result
    if child.wait():
        raise UserError(f"{name}: not written, {_reason(task, child.returncode)}")


def _reason(task: str, code: int) -> str:
    if code > 0:
        return f"the {task} ended with exit code {code}; its last words stand above"
    if task == "compile":
        return f"the compile ended with signal {-code} (9 is usually lack of memory)"
    return (
        f"the compiled code ends its process with signal {-code} when it is loaded or run; it was made by "
        f"'{os.environ.get('CXX', 'g++')}': name another C++ compiler in the variable CXX and compile again; "
        "python -m benchmarks.gpu_suite -o out --part packages tells what of such code runs here"
    )


def main() -> int:
    """The child's side."""
    answers = os.fdopen(os.dup(1), "w")
    # What compilers print must not mix with the answers.
    os.dup2(2, 1)
    task, request = sys.argv[1], json.loads(sys.argv[2])
    try:
        # Within, because standard input may have ended already.
        _end_with_standard_input()
        for result in TASKS[task](request):
            print(json.dumps({"result": result}), file=answers, flush=True)
    except UserError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _end_with_standard_input() -> None:
    """Interrupt this process, and the compilers that it runs, once its standard input ends."""

    def interrupt_once(number: int, frame: FrameType | None) -> None:
        # A second one would disturb what the first one lets remove.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    def watch() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGINT)

    signal.signal(signal.SIGINT, interrupt_once)
    Thread(target=watch, daemon=True).start()


def _compile(request: dict[str, Any]) -> Iterator[list[Any]]:
    from engines.compiled.program import Source, compile_part, part_name

    source = Source(**{**request["source"], "checkpoint": Path(request["source"]["checkpoint"])})
    for part, size in request["jobs"]:
        yield [part_name(part, size), compile_part(source, part, tuple(size)) or []]


def _check(request: dict[str, Any]) -> Iterator[list[Any]]:
    from engines.compiled.check import check

    yield [comparison.to_json() for comparison in check(**request)]


TASKS: dict[str, Callable[[dict[str, Any]], Iterator[list[Any]]]] = {"compile": _compile, "check": _check}

if __name__ == "__main__":
    raise SystemExit(main())
