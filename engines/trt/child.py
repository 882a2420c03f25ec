"""Building and checking an engine in a child process: a crash in TensorRT, or the kernel's out-of-memory killer, leaves
a parent to report it.

The child takes one JSON argument: the task, its request and the parent's process. It answers in JSON lines:
``{"progress": …}`` while it works, then ``{"built": …}``, ``{"described": …}``, ``{"corners": …}``, ``{"failed": …}``
or ``{"error": …}``. It ends with its parent.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engines.trt.api import Flavour
from engines.trt.builder import Progress, build_in_process
from engines.trt.check import CheckRequest, check_engine_file
from engines.trt.corners import Corner
from engines.trt.described import Described, describe_engine
from engines.trt.plan import BuildPlan, Built
from refinemask.exit_codes import BAD_INPUT, FAILED_CHECK, INTERRUPTED
from refinemask.files import FailedCheckError, UserError
from refinemask.foreign import one_line
from refinemask.json_files import checked, parse_json
from refinemask.orphans import end_with_parent, ended_by_errors


@dataclass(frozen=True)
class Answer:
    """A line that the child writes."""

    progress: tuple[str, float] = ("", 0.0)
    """The name of a phase, and the share of it that is done."""
    built: Built | None = None
    """What came of the build."""
    described: Described | None = None
    """What an engine tells of itself."""
    corners: tuple[Corner, ...] = ()
    """What a check found."""
    failed: str | None = None
    """What a check found fault with."""
    error: str | None = None
    """Why the task could not be done."""


CRASHES = {signal.SIGILL, signal.SIGABRT, signal.SIGFPE, signal.SIGSEGV}
if sys.platform != "win32":
    CRASHES |= {signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS}


class EndedEarlyError(Exception):
    """The error of a child that ended without an answer."""

    def __init__(self, phase: str, code: int) -> None:
        self.phase = phase
        """What it did last."""
        self.crashed = -code in CRASHES
        """Whether what it did is at fault; otherwise somebody ended it, or the system for want of memory."""
        reason = f"signal {-code} (9 is usually lack of memory)" if code < 0 else f"exit code {code}"
        super().__init__(reason)


def build_in_child(plan: BuildPlan, engine: Path) -> Built:
    """:func:`build_in_process` in a process of its own, with a progress bar.

    Raises:
        UserError: :func:`build_in_process` raised it, or the process ended early.
    """
    request = {"plan": plan.to_json(), "output": str(engine)}
    try:
        answer = _ask("build", request, plan.flavour, plan.onnx)
    except EndedEarlyError as error:
        raise UserError(
            f"{plan.onnx}: the build for {plan.shapes()} ended with {error}; try a smaller --max-shape"
        ) from error
    assert answer.built is not None
    return answer.built


def check_in_child(request: CheckRequest, flavour: Flavour) -> tuple[Corner, ...]:
    """:func:`check_engine_file` in a process of its own, with a progress bar.

    Raises:
        UserError: :func:`check_engine_file` raised it, or the process ended early without a crash.
        FailedCheckError: the engine does not agree, or crashes, at the corner that is named.
    """
    try:
        return _ask("check", asdict(request), flavour, request.name).corners
    except EndedEarlyError as error:
        reason = f"the check ended with {error}, last phase: {error.phase or 'start'}"
        if error.crashed:
            raise FailedCheckError(reason) from error
        raise UserError(f"{request.name}: {reason}; try again, with --images of smaller pictures") from error


def describe_in_child(engine: Path, onnx: Path) -> Described:
    """:func:`describe_engine` in a process of its own.

    Raises:
        UserError: :func:`describe_engine` raised it, or the process ended early.
    """
    request = {"engine": str(engine), "onnx": str(onnx)}
    try:
        answer = _ask("describe", request, "tensorrt", engine)
    except EndedEarlyError as error:
        raise UserError(f"{engine}: loading it ended with {error}; build it again: python -m engines.build") from error
    assert answer.described is not None
    return answer.described


def _ask(task: str, request: dict[str, Any], flavour: Flavour, name: str | Path) -> Answer:
    """The last answer of a child; ``name`` is what its task is about, for errors."""
    phase = ""
    with (
        child_environment(flavour) as environment,
        tqdm(total=1.0, bar_format="{desc}: {bar}", disable=None) as bar,
    ):
        words = json.dumps({"task": task, "request": request, "parent": os.getpid()})
        command = [sys.executable, "-m", "engines.trt.child", words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "errors": "replace"}
        with ended_by_errors(subprocess.Popen(command, env=environment, **pipes)) as child:
            assert child.stdout is not None
            for line in child.stdout:
                try:
                    answer = checked(parse_json(line), Answer)
                except ValueError as error:
                    raise UserError(f"{name}: the {task}'s process answered {one_line(line)!r}") from error
                if answer.error is not None:
                    raise UserError(answer.error)
                if answer.failed is not None:
                    raise FailedCheckError(answer.failed)
                if answer.built is not None or answer.described is not None or answer.corners:
                    return answer
                phase, share = answer.progress
                bar.set_description(phase)
                bar.update(share - bar.n)
    raise EndedEarlyError(phase, child.returncode)


@contextmanager
def child_environment(flavour: Flavour) -> Iterator[dict[str, str]]:
    """The child's environment: our packages, and for TensorRT-RTX a library name that its wheel leaves out."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    libraries = find_spec("tensorrt_rtx_libs") if flavour == "tensorrt_rtx" else None
    with tempfile.TemporaryDirectory() as directory:
        if libraries is not None and libraries.submodule_search_locations:
            # TensorRT-RTX's parser opens libtensorrt_rtx.so when it meets a plugin, and aborts the process without it.
            library = next(Path(libraries.submodule_search_locations[0]).glob("libtensorrt_rtx.so.*"))
            (Path(directory) / "libtensorrt_rtx.so").symlink_to(library)
            paths = (directory, os.environ.get("LD_LIBRARY_PATH"))
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
        yield environment


def main() -> int:
    """The child's side of :func:`build_in_child` and :func:`check_in_child`."""
    answers = os.fdopen(os.dup(1), "w")
    # What TensorRT prints must not mix with the answers.
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    words = json.loads(sys.argv[1])
    end_with_parent(words["parent"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer(**TASKS[words["task"]](words["request"], lambda phase, share: answer(progress=[phase, share])))
    except UserError as error:
        answer(error=str(error))
        return BAD_INPUT
    except FailedCheckError as error:
        answer(failed=str(error))
        return FAILED_CHECK
    except KeyboardInterrupt:
        # The parent heard it, too, and says so.
        return INTERRUPTED
    return 0


def _build(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    built = build_in_process(BuildPlan.from_json(request["plan"]), Path(request["output"]), progress)
    return {"built": asdict(built)}


def _check(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return {"corners": [asdict(corner) for corner in check_engine_file(CheckRequest(**request), progress)]}


def _describe(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return {"described": asdict(describe_engine(Path(request["engine"]), Path(request["onnx"])))}


TASKS: dict[str, Callable[[dict[str, Any], Progress], dict[str, Any]]] = {
    "build": _build,
    "describe": _describe,
    "check": _check,
}

if __name__ == "__main__":
    raise SystemExit(main())
