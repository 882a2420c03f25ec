"""Write an engine: ONNX Runtime in a process of its own, behind the interface that all engines of this project share.

    python examples/write_an_engine.py [OUT]

It exports the bundled nuclei model to OUT, runs the new engine on a bundled picture, and compares it with PyTorch. A
file that was exported there before is used again. It needs the extras export, cpu and draw, no GPU, and about a minute.
docs/extending/engine.md explains it.
"""

import multiprocessing
import os
import sys
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime

import engines
import export
from engines.base import Engine
from refinemask.agreement import PARITY, Comparison, agreement, compare, passes
from refinemask.bundled import DEMO, NUCLEI
from refinemask.contract import INPUTS, OUTPUTS, Metadata
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.files import UserError
from refinemask.onnx_session import session_options
from refinemask.structures import Detections


class IsolatedEngine(Engine):
    """An exported file in ONNX Runtime, in a process of its own.

    If the runtime crashes, that is an error here and not the end of this process. :meth:`close` gives back its memory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        metadata = Metadata.of_file(path)
        if device != "cpu" or precision not in (None, metadata.precision):
            raise UserError(
                f"{path}: this engine runs a file on the cpu and in the file's own precision, {metadata.precision}, "
                f"not on {device} in {precision}; export with --precision, and leave the device out"
            )
        super().__init__(
            name="isolated ONNX Runtime",
            config=metadata.config,
            precision=metadata.precision,
            device=device,
            bounds=metadata.bounds,
        )
        self._path, self._numbers = path, count()
        self._asking = Lock()
        # A forked process would inherit locks of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, os.fspath(path), threads), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> int:
        batch = next(self._numbers)
        self._ask("upload", batch, images, image_sizes)
        return batch

    def run(self, inputs: int) -> int:
        self._ask("run", inputs)
        return inputs

    def download(self, outputs: int) -> Detections:
        return Detections(*self._ask("download", outputs))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _ask(self, phase: str, batch: int, *arrays: np.ndarray) -> Any:
        # Of several threads each gets its own answer.
        with self._asking:
            # If the process has ended, what it said last is still to be read.
            with suppress(ConnectionError):
                self._pipe.send((phase, batch, arrays))
            return self._answer()

    def _answer(self) -> Any:
        try:
            refusal, answer = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            code = self._process.exitcode
            raise UserError(f"{self._path}: the process of its engine ended with exit code {code}") from error
        if refusal:
            raise UserError(f"{self._path}: ONNX Runtime cannot run it: {refusal}; export it again (export.to_onnx)")
        return answer


def serve(pipe: Connection, path: str, threads: int | None) -> None:
    """The work of the process: open the file, and compute one phase after another until the pipe is closed."""
    held: dict[int, Any] = {}
    try:
        session = onnxruntime.InferenceSession(path, session_options(threads), ["CPUExecutionProvider"])
        pipe.send((None, None))
        while True:
            phase, batch, arrays = pipe.recv()
            if phase == "upload":
                held[batch] = dict(zip(INPUTS, arrays, strict=True))
            elif phase == "run":
                held[batch] = session.run(OUTPUTS, held[batch])
            pipe.send((None, held.pop(batch) if phase == "download" else None))
    except EOFError:
        return
    # ONNX Runtime's exceptions share no base class of their own.
    except Exception as error:
        pipe.send((str(error).splitlines()[0], None))


def compare_with_pytorch(engine: Engine, checkpoint: Path, picture: Path) -> Comparison:
    """The engine's detections beside those of PyTorch, in the pixels of the network's input."""
    batch = preprocess([read_image(picture, engine.config.preprocessing.window)], engine.config.preprocessing)
    expected = engines.load(checkpoint).infer(batch.images, batch.image_sizes)
    found = engine.infer(batch.images, batch.image_sizes)
    return compare((1, *batch.images.shape[2:]), expected, found)


def main(out: Path) -> int:
    """Export, run the engine, compare; returns 1 if the engine does not compute what PyTorch does."""
    checkpoint, exported = DEMO / "weights" / "refinemask-nuclei.safetensors", out / "refinemask-nuclei.onnx"
    picture = NUCLEI / "images" / "0005.png"
    if not exported.is_file():
        export.export_onnx(checkpoint, exported, masks="found", verify_images=NUCLEI / "images")

    engine = IsolatedEngine(exported)
    for result in engine.predict([picture]):
        print(f"{picture.name}: {len(result)} nuclei by {engine.name} {engine.precision}, drawn as {result.save(out)}")

    comparison, parity = compare_with_pytorch(engine, checkpoint, picture), PARITY[engine.precision]
    engine.close()
    near, total = agreement([comparison], parity)
    print(f"{near} of {total} detections agree with PyTorch; expected {parity.share:.0%} of them")
    return 0 if passes([comparison], parity) else 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/write_an_engine")))
