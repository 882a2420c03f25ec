"""An engine in a process of its own, so that its memory is its own and no other runtime's threads disturb it.

Parent and child exchange one JSON line each way per request, on the child's standard input and output.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2

import engines
from benchmarks.harness.load import peak_memory_bytes, used_device_memory
from benchmarks.harness.pipeline import Sample, process
from benchmarks.harness.spec import TORCHVISION, EngineSpec
from refinemask.config import ModelConfig
from refinemask.config_json import from_json, to_json
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.json_files import checked, parse_json
from refinemask.structures import Result

SECONDS_TO_END = 10
"""Time for a child to finish a batch and remove its engine's temporary files."""


class Worker:
    """The parent's side; close it, or use it as a context manager.

    Raises:
        UserError: the engine cannot be loaded as asked.
    """

    def __init__(self, spec: EngineSpec, *, threads: int, device: str = "cpu", trust_engine: bool = False) -> None:
        self.spec = spec
        self._device = device
        self._device_bytes: int | None = None
        root = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
        )
        try:
            about = self._ask(
                path=str(spec.path),
                backend=spec.backend,
                precision=spec.precision,
                threads=threads,
                device=device,
                trust_engine=trust_engine,
            )
        except BaseException:
            self.close()
            raise
        self.name: str = about["name"]
        self.precision: str = about["precision"]
        self.config = from_json(ModelConfig, about["config"])
        """Configuration of the engine's model."""

    @property
    def pid(self) -> int:
        """Id of the child's process."""
        return self._process.pid

    def process(
        self, paths: Sequence[str | Path], canvas: tuple[int, int] | None = None
    ) -> tuple[Sample, list[list[Result]]]:
        """Run one batch, as :func:`benchmarks.harness.pipeline.process`, in the child.

        Raises:
            UserError: the images do not fit, or the child ended.
        """
        answer = self._ask(paths=[str(path) for path in paths], canvas=canvas)
        return Sample(**answer["sample"]), answer["results"]

    def peak_memory_bytes(self) -> int | None:
        """Largest resident set of the child so far, loading included."""
        return peak_memory_bytes(self.pid)

    def device_memory_bytes(self) -> int | None:
        """GPU memory that the child has taken so far, None on a CPU.

        Counted is what appears while the child works and the other engines wait; allocators keep what they once took.
        """
        return self._device_bytes

    def close(self) -> None:
        """End the child, in good order where it can: some engines have temporary files."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # What it could not be told is lost with it.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = used_device_memory(self._device)
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            reason = f"signal {-code} (9 is usually lack of memory)" if code < 0 else f"exit code {code}"
            raise UserError(f"{self.spec}: its process ended with {reason}")
        try:
            content = checked(parse_json(answer), dict[str, Any])
        except ValueError as error:
            raise UserError(f"{self.spec}: its process answered {one_line(answer)!r}") from error
        if "error" in content:
            raise UserError(content["error"])
        after = used_device_memory(self._device)
        if before is not None and after is not None:
            self._device_bytes = (self._device_bytes or 0) + after - before
        return content


def main() -> int:
    """The child's side: load the engine of the first line, then run the batch of each further line."""
    # The parent hears Ctrl-C too, and ends the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    # What libraries print must not mix with the answers.
    os.dup2(2, 1)
    run: Callable[..., tuple[Sample, list[list[Result]]]] | None = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if run is None:
                engine, run = _opened(request)
                # A number that was too large for it has been refused.
                cv2.setNumThreads(request["threads"])
                answer = {"name": engine.name, "precision": engine.precision, "config": to_json(engine.config)}
            else:
                sample, results = run(**request)
                answer = {"sample": asdict(sample), "results": results}
        except UserError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def _opened(request: dict[str, Any]) -> tuple[Any, Callable[..., tuple[Sample, list[list[Result]]]]]:
    """What has the name, the precision and the configuration of the engine that is asked for, and what runs a batch."""
    if request["backend"] != TORCHVISION:
        engine = engines.load(**request)
        return engine, partial(process, engine)
    with needed_by(f"{request['path']}: backend '{TORCHVISION}'"):
        from benchmarks.harness.torchvision_engine import TorchvisionMaskRcnn

        options = {name: request[name] for name in ("precision", "threads", "device")}
        theirs = TorchvisionMaskRcnn(Path(request["path"]), **options)
    return theirs, theirs.process


if __name__ == "__main__":
    # The engine is gone. What libraries print as an interpreter ends would stand among the results.
    os._exit(main())
