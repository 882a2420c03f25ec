"""The ranges of the tensors that a quantised file rounds: measured on images, kept in a small JSON file."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from export.calibration.histogram import LARGEST, Histogram
from export.calibration.images import Choice
from export.calibration.methods import Method, choose_range
from export.calibration.run import measure_histograms
from refinemask.config_json import from_json
from refinemask.contract import Metadata
from refinemask.files import UserError, atomic_write, sha256
from refinemask.json_files import Positive
from refinemask.readable import require_readable

METHOD: Method = "percentile-99.99"
"""Choice of a range unless another is asked for: docs/decisions/calibration.md."""

Range = Annotated[float, Meta(gt=0, le=LARGEST)]
"""A magnitude, whose 127th part is a scale that float16 can hold."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measured ranges, valid for every export of the checkpoint, whatever the precision or size of the export."""

    source_sha256: str
    """SHA-256 of the checkpoint."""
    tool: Annotated[str, Meta(min_length=1, max_length=1000)]
    """Tool and method that measured the ranges."""
    images: Positive
    """Number of images that the ranges were measured on."""
    ranges: dict[str, Range]
    """Largest magnitude that is kept of each layer's input, by the layer's name."""

    def without(self, layers: Collection[str]) -> "Calibration":
        """A calibration in which these layers have no range, so that they are not quantised."""
        return replace(self, ranges={name: limit for name, limit in self.ranges.items() if name not in layers})


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        UserError: the file is missing, or is no calibration.
    """
    require_readable(path)
    try:
        return from_json(Calibration, path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"{path}: not a calibration written by python -m export.quantize ({error}); leave out --ranges to calibrate"
        ) from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(calibration), indent=1) + "\n")


def calibrate(model: Path, source: Path, choice: Choice, method: Method, progress: Path) -> Calibration:
    """Run an exported file on images and choose the ranges of its layers' inputs.

    Layers of :data:`export.qdq.KEPT` get no range, nor do layers whose input is 0 in all images.

    Args:
        model: the exported file, with bodies.
        source: the same file as the user has it.
        choice: the images.
        method: how a range is chosen.
        progress: file for what was counted so far, from which an interrupted run goes on, with any method. It stays.

    Raises:
        UserError: an image cannot be used, or ``progress`` is of another run.
    """
    import onnxruntime

    histograms = measure_histograms(model, choice, progress, sha256(source))
    return Calibration(
        source_sha256=Metadata.of_file(model).source_sha256,
        tool=f"ONNX Runtime {onnxruntime.__version__}, {method}",
        images=len(choice.calibration),
        ranges=choose_ranges(histograms, method),
    )


def choose_ranges(histograms: Mapping[str, Histogram], method: Method) -> dict[str, float]:
    """The ranges of tensors by their histograms, without those of tensors that are 0 everywhere."""
    chosen = {id(histogram): choose_range(histogram, method) for histogram in histograms.values()}
    ranges = {name: chosen[id(histogram)] for name, histogram in histograms.items()}
    return {name: limit for name, limit in ranges.items() if limit > 0}
