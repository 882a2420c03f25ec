"""Files of which some layers are kept in higher precision, and their accuracy; each is evaluated once."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from tqdm import tqdm

from export.calibration.ranges import Calibration
from export.max_drop.accuracy import Judged
from export.max_drop.search_file import SearchFile
from export.qdq import QuantizedType, insert_qdq
from export.reading import read_model
from refinemask.files import UserError, atomic_write

Judge = Callable[[Path, Path], Judged]
"""Function that evaluates a file; the second path keeps the predictions, so that it can be interrupted."""


@dataclass(frozen=True)
class Candidates:
    """What a file can be quantised to, one candidate for each set of layers that are kept."""

    source: Path
    """The file before the quantisation, with bodies."""
    calibration: Calibration
    """Ranges of the layers that may be quantised."""
    precision: QuantizedType
    """Type that they are rounded to."""

    def write(self, kept: Sequence[str], path: Path) -> None:
        """Write the candidate that keeps these layers; a UserError if the file cannot be written."""
        model = read_model(self.source)
        insert_qdq(model.graph, self.calibration.without(kept).ranges, self.precision)
        model.metadata_props["precision"] = self.precision
        # It lies among the system's temporary files, whose disk may be another one than that of the output.
        with atomic_write(path) as temporary:
            ir.save(model, temporary)


class Trials:
    """The losses of accuracy of candidates."""

    def __init__(self, candidates: Candidates, file: SearchFile, judge: Judge, bar: "tqdm[None]") -> None:
        """Evaluate the source, unless that was done.

        Args:
            candidates: what can be tried.
            file: keeps what was measured.
            judge: evaluates a file.
            bar: shows what was found last.
        """
        self.candidates, self.file, self.judge, self.bar = candidates, file, judge, bar
        self.source = self._judged(None)

    def judged(self, kept: Sequence[str]) -> Judged:
        """The accuracy of the candidate that keeps these layers.

        Raises:
            UserError: not all images can be used that could be used for the source.
        """
        found = self._judged(tuple(kept))
        if found.images != self.source.images:
            raise UserError(
                f"{self.file.path}: {found.images} images could be used, and {self.source.images} for the file before "
                "the quantisation: restore the images, and run the command again"
            )
        return found

    def drop(self, kept: Sequence[str]) -> float:
        """The larger loss in points, of mask AP or of boundary AP, of the candidate that keeps these layers."""
        before, after = self.source.accuracy, self.judged(kept).accuracy
        drop = max(before.mask - after.mask, before.boundary - after.boundary)
        self.bar.set_postfix(kept=len(kept), drop=f"{drop:.2f}")
        return drop

    def _judged(self, kept: tuple[str, ...] | None) -> Judged:
        name = hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:12]
        predictions = self.file.path.with_suffix(f".{name}.jsonl")
        if kept not in self.file.trials:
            with tempfile.TemporaryDirectory() as directory:
                path = self.candidates.source
                if kept is not None:
                    path = Path(directory) / "candidate.onnx"
                    self.candidates.write(kept, path)
                self.file.add_trial(kept, self.judge(path, predictions))
        # Also those of a run that was killed once it had kept the accuracy.
        predictions.unlink(missing_ok=True)
        self.bar.update(len(self.file.trials) - self.bar.n)
        return self.file.trials[kept]
