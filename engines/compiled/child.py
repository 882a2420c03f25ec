"""Compiling, and the first load of what was compiled, in child processes.

Several parts can be compiled at the same time. Their memory is given back, and a crash of the code leaves a parent to
report it. A child takes one JSON argument and answers in JSON lines.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from refinemask.agreement import Comparison
from refinemask.files import UserError

CORES_PER_CHILD = 4
"""Processor cores that compiling one part keeps busy."""
ROOT = Path(__file__).resolve().parents[2]


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
    with ThreadPoolExecutor(count) as pool:
        shares = [{"source": source, "jobs": jobs[index::count]} for index in range(count)]
        answers = pool.map(lambda share: list(_ask("compile", share, source["checkpoint"])), shares)
        for answer in answers:
            yield from answer


def check_in_child(package: Path, **options: Any) -> list[Comparison]:
    """Load a package for the first time, and compare it with eager PyTorch; see :func:`engines.compiled.check.check`.

    Raises:
        UserError: it cannot be loaded, or crashes.
    """
    (answer,) = _ask("check", {"package": str(package), **options}, options["output"])
    return [Comparison.of(fields) for fields in answer]


def _ask(task: str, request: dict[str, Any], name: str) -> Iterator[Any]:
    paths = (str(ROOT), os.environ.get("PYTHONPATH"))
    environment = {
        # PyTorch would start as many compilers as there are cores, in every child.
        "TORCHINDUCTOR_COMPILE_THREADS": str(CORES_PER_CHILD),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    # Where the process crashes, its last words are then the Python lines that it died in.
    options = ["-W", "ignore", "-X", "faulthandler"]
    command = [sys.executable, *options, "-m", "engines.compiled.child", task, json.dumps(request)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise UserError(answer["error"])
            yield answer["result"]
    if child.returncode:
        raise UserError(f"{name}: not written, {_reason(task, child.returncode)}")


def _reason(task: str, code: int) -> str:
    if code > 0:
        return f"the {task} ended with exit code {code}; its last words stand above"
    if task == "compile":
        return f"the compile ended with signal {-code} (9 is usually lack of memory)"
    # Seen with compilers that are much newer than the one that built PyTorch.
    return (
        f"the compiled code ends its process with signal {-code} when it is loaded or run; it was made by "
        f"'{os.environ.get('CXX', 'g++')}': name another C++ compiler in the variable CXX, such as the system's, "
        "and compile again"
    )


def main() -> int:
    """The child's side."""
    answers = os.fdopen(os.dup(1), "w")
    # What compilers print must not mix with the answers.
    os.dup2(2, 1)
    task, request = sys.argv[1], json.loads(sys.argv[2])
    try:
        for result in TASKS[task](request):
            print(json.dumps({"result": result}), file=answers, flush=True)
    except UserError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
    return 0


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
