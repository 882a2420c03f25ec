"""JSON lines: one line for each image, written as soon as it is done."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from refinemask.files import UserError, require_file
from refinemask.locks import lock
from refinemask.prediction import Prediction
from refinemask.sources.item import Item
from refinemask.writers.naming import frame_of, json_text
from refinemask.writers.writer import Writer


class JsonLines(Writer):
    """Writes a line for each image to a file, which is begun anew, or to standard output.

    A line has ``image``, ``height``, ``width`` and ``detections``, those of a COCO results file with ``class_name``. A
    frame also has ``video``, ``frame`` and ``seconds``. The line of an image that could not be used has ``error``
    instead of sizes and detections.

    The file grows while it is read. A line is whole if a line break ends it: where the disk is full, what was written
    of a line is taken back, and only a process that is killed can leave a last line without an end.
    """

    def __init__(self, path: Path | None) -> None:
        """Prepare the output.

        Args:
            path: the file; None is standard output.

        Raises:
            UserError: something else than a file is there, or standard output is closed.
        """
        if path is not None:
            require_file(path)
        elif sys.stdout is None:
            raise UserError("standard output is closed; name a file for JSON lines")
        self.path = path

    def __enter__(self) -> "JsonLines":
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Without a buffer, each line is there at once, and none comes again when the file is closed.
                self._file = open(self.path, "ab", buffering=0)
                self._begin(self.path)
            except OSError as error:
                raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error
        return self

    def _begin(self, path: Path) -> None:
        """Empty the file, unless another process fills it."""
        free = True
        # Some file systems have no locks.
        with suppress(OSError):
            free = lock(self._file.fileno())
        if not free:
            self._file.close()
            raise UserError(f"{path}: another process writes to it; wait for its end, or name another file")
        self._file.truncate(0)

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> str:
        """The line, without its end."""
        size = {"height": prediction.height, "width": prediction.width}
        pairs = zip(prediction.to_coco(), prediction.class_names, strict=True)
        # Beside its number.
        found = [{"category_id": result["category_id"], "class_name": name} | result for result, name in pairs]
        return json.dumps({"image": json_text(item.name)} | size | frame_of(item) | {"detections": found})

    def write(self, item: Item, prediction: Prediction, rendered: str) -> None:
        """Write the line.

        Raises:
            UserError: the output cannot be written.
            BrokenPipeError: nobody reads standard output any more.
        """
        self._write(rendered)

    def fail(self, item: Item, error: UserError) -> None:
        """Write a line that says why; it raises what :meth:`write` does."""
        self._write(json.dumps({"image": json_text(item.name)} | frame_of(item) | {"error": json_text(str(error))}))

    def _write(self, line: str) -> None:
        try:
            if self.path is None:
                print(line, flush=True)
            else:
                self._append(line.encode() + b"\n")
        except BrokenPipeError:
            # Commands end by it (refinemask/exit_codes.py).
            raise
        except OSError as error:
            raise UserError(f"{self.path or 'standard output'}: cannot be written: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        start = self._file.seek(0, os.SEEK_END)
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(start)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file.

        Raises:
            UserError: it was removed meanwhile, so that its lines are lost.
        """
        if self.path is not None:
            with self._file:
                if kind is None and not os.fstat(self._file.fileno()).st_nlink:
                    raise UserError(f"{self.path}: was removed while it was written, and its lines are lost")
