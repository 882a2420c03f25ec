"""Building an engine in a child process: a crash in TensorRT, or the kernel's out-of-memory killer, leaves a parent to
report it.

The child takes one JSON argument, ``{"plan": …, "output": …, "parent": …}``, and answers in JSON lines:
``{"progress": …}`` while it builds, then ``{"result": …}`` or ``{"error": …}``. It ends with its parent.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engines.trt.api import Flavour
from engines.trt.builder import build_in_process
from engines.trt.plan import BuildPlan, Built
from refinemask.exit_codes import BAD_INPUT, INTERRUPTED
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.json_files import checked, parse_json
from refinemask.orphans import end_with_parent


@dataclass(frozen=True)
class Answer:
    """A line that the child writes."""

    progress: tuple[str, float] = ("", 0.0)
    """The name of a phase, and the share of it that is done."""
    result: Built | None = None
    """What came of the build."""
    error: str | None = None
    """Why it failed."""


def build_in_child(plan: BuildPlan, engine: Path) -> Built:
    """:func:`build_in_process` in a process of its own, with a progress bar.

    Raises:
        UserError: :func:`build_in_process` raised it, or the process ended early.
    """
    with (
        child_environment(plan.flavour) as environment,
        tqdm(total=1.0, bar_format="{desc}: {bar}", disable=None) as bar,
    ):
        request = json.dumps({"plan": plan.to_json(), "output": str(engine), "parent": os.getpid()})
        command = [sys.executable, "-m", "engines.trt.child", request]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace", env=environment) as child:
            assert child.stdout is not None
            for line in child.stdout:
                try:
                    answer = checked(parse_json(line), Answer)
                except ValueError as error:
                    raise UserError(f"{plan.onnx}: the build's process answered {one_line(line)!r}") from error
                if answer.result is not None:
                    return answer.result
                if answer.error is not None:
                    raise UserError(answer.error)
                phase, share = answer.progress
                bar.set_description(phase)
                bar.update(share - bar.n)
    code = child.returncode
    reason = f"signal {-code} (9 is usually lack of memory)" if code < 0 else f"exit code {code}"
    raise UserError(f"{plan.onnx}: the build for {plan.shapes()} ended with {reason}; try a smaller --max-shape")


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
    """The child's side of :func:`build_in_child`."""
    answers = os.fdopen(os.dup(1), "w")
    # What TensorRT prints must not mix with the answers.
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    request = json.loads(sys.argv[1])
    end_with_parent(request["parent"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        plan = BuildPlan.from_json(request["plan"])
        built = build_in_process(plan, Path(request["output"]), lambda phase, share: answer(progress=[phase, share]))
        answer(result=asdict(built))
    except UserError as error:
        answer(error=str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        # The parent heard it, too, and says so.
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
