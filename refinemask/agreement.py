"""Whether two ways of running a detector agree, on real images. Imports no PyTorch.

Detections are matched by class and IoU, never by index: near-equal scores may swap places.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.config import STRIDE, Preprocessing, Window
from refinemask.contract import Bounds
from refinemask.data.images import IMAGE_SUFFIXES, read_image
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.files import FailedCheckError, UserError
from refinemask.structures import Detections

NUM_IMAGES = 6
"""Number of images of a verification."""


class Parity(NamedTuple):
    """How near a detection must be to PyTorch's in float32, and the share of detections that must be."""

    boxes: float
    """Largest coordinate difference in input pixels."""
    scores: float
    """Largest score difference."""
    masks: float
    """Smallest IoU of the binary masks over the box."""
    share: float
    """Smallest share of detections that are this near; the others may be near-ties that a rounding decides."""


PARITY = {
    "fp32": Parity(boxes=1e-2, scores=1e-4, masks=0.999, share=0.98),
    # TensorFloat-32 rounds as fp16 does.
    "tf32": Parity(boxes=0.5, scores=1e-2, masks=0.97, share=0.9),
    "fp16": Parity(boxes=0.5, scores=1e-2, masks=0.97, share=0.9),
    "bf16": Parity(boxes=2, scores=5e-2, masks=0.8, share=0.9),
    "int8": Parity(boxes=2, scores=5e-2, masks=0.85, share=0.7),
    "fp8": Parity(boxes=2, scores=5e-2, masks=0.85, share=0.7),
}
"""Limits for a file, by its precision."""


class Comparison(NamedTuple):
    """The detections of one batch, PyTorch's beside those of the file."""

    shape: tuple[int, int, int]
    """Batch, height and width of the padded images."""
    unmatched: int
    """Number of detections, on either side, without a partner of the same class."""
    boxes: NDArray[np.float32]
    """[N] largest coordinate difference of each matched pair, in input pixels."""
    scores: NDArray[np.float32]
    """[N] score difference of each matched pair."""
    masks: NDArray[np.float32]
    """[N] IoU of each matched pair's binary masks over the boxes."""

    def to_json(self) -> list[Any]:
        """The fields as JSON has them."""
        return [field.tolist() if isinstance(field, np.ndarray) else field for field in self]

    @classmethod
    def of(cls, fields: Sequence[Any]) -> "Comparison":
        """Read what :meth:`to_json` made."""
        shape, unmatched, *differences = fields
        return cls(tuple(shape), unmatched, *(np.array(values, np.float32) for values in differences))

    def agreeing(self, parity: Parity) -> int:
        """Number of matched pairs within ``parity``."""
        near = (self.boxes <= parity.boxes) & (self.scores <= parity.scores) & (self.masks >= parity.masks)
        return int(near.sum())


class StageCheck(NamedTuple):
    """One stage of a file on one batch, judged on what the file's stages before it have found."""

    stage: str
    """What is compared."""
    compared: int
    """Number of cells, proposals or detections."""
    mean: float
    """Deviation of the values from PyTorch's as a share of their spread; of a choice, the share of wrong choices."""
    worst: float
    """The same of the farthest cell, proposal or detection."""
    fault: str
    """What is wrong; empty if nothing is."""
    shape: tuple[int, int, int] = (0, 0, 0)
    """Batch, height and width of the padded images."""


class MismatchError(FailedCheckError):
    """The error of a file that does not agree with its source, and so was not written."""

    def __init__(
        self, message: str, comparisons: Sequence[Comparison], parity: Parity, stages: Sequence[StageCheck] = ()
    ) -> None:
        super().__init__(message)
        self.comparisons = tuple(comparisons)
        """Detections of the file beside those of its source, one entry for each batch."""
        self.parity = parity
        """Limits that the comparisons had to keep, where the file was not judged stage by stage."""
        self.stages = tuple(stages)
        """The file's stages on each batch; empty if it was not judged stage by stage."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled with its message alone, and an export may run in a process of its own.
        return type(self), (str(self), self.comparisons, self.parity, self.stages)


Runner = Callable[[NetworkInput], Detections]
"""Function that runs a detector on a batch, and returns NumPy arrays."""


def verify(
    found: Runner,
    expected: Runner,
    preprocessing: Preprocessing,
    bounds: Bounds,
    images: Sequence[NDArray[np.uint8]],
) -> list[Comparison]:
    """Compare two runners at up to two sizes and two batch sizes within ``bounds``, each time on other images."""
    return [
        compare(shape, expected(inputs), found(inputs))
        for shape, inputs in verification_batches(preprocessing, bounds, images)
    ]


def verification_batches(
    preprocessing: Preprocessing, bounds: Bounds, images: Sequence[NDArray[np.uint8]]
) -> Iterator[tuple[tuple[int, int, int], NetworkInput]]:
    """The batches of a verification, each of other images, and their shapes: batch, height and width."""
    offset = 0
    for batch, height, width in verification_shapes(bounds):
        chosen = [images[(offset + index) % len(images)] for index in range(batch)]
        offset += batch
        yield (batch, height, width), preprocess(chosen, preprocessing, (height, width))


def verification_shapes(bounds: Bounds) -> list[tuple[int, int, int]]:
    """Up to two batch sizes at up to two sizes within ``bounds``, as (batch, height, width)."""
    batches = dict.fromkeys([bounds.batch[0], min(bounds.batch[0] + 1, bounds.batch[2])])
    typical = bounds.height[1], bounds.width[1]
    half = [max(limits[0], -(-limits[1] // 2 // STRIDE) * STRIDE) for limits in (bounds.height, bounds.width)]
    sizes = dict.fromkeys([typical, (half[0], half[1])])
    return [(batch, *size) for size in sizes for batch in batches]


def compare(shape: tuple[int, int, int], expected: Detections, found: Detections) -> Comparison:
    """Match and compare the detections of a batch, both as NumPy arrays."""
    pairs, unmatched = [], 0
    for image in range(len(expected.boxes)):
        counts = expected.num_detections[image], found.num_detections[image]
        first, second = (
            Detections(*(field[image, :count] if field.ndim > 1 else field for field in detections))
            for detections, count in zip((expected, found), counts, strict=True)
        )
        matches = list(match(first, second))
        unmatched += int(sum(counts)) - 2 * len(matches)
        pairs += [_differences(first, second, i, j) for i, j in matches]
    boxes, scores, masks = np.array(pairs, np.float32).reshape(-1, 3).T
    return Comparison(shape, unmatched, boxes, scores, masks)


def match(first: Detections, second: Detections) -> Iterator[tuple[int, int]]:
    """Pairs of indices of one image's detections: same class, IoU above one half, best first, each used once."""
    iou = box_iou(first.boxes, second.boxes)
    iou[first.labels[:, None] != second.labels] = 0
    for i in range(len(iou)):
        j = int(iou[i].argmax()) if iou.shape[1] else 0
        if iou.shape[1] and iou[i, j] > 0.5:
            iou[:, j] = 0
            yield i, j


def box_iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU [N, M] of boxes [N, 4] and [M, 4], (x1, y1, x2, y2)."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    intersection = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return intersection / np.maximum(areas[0][:, None] + areas[1] - intersection, 1e-9)


def verification_images(
    directory: Path, option: str = "--images", window: Window | None = None
) -> list[NDArray[np.uint8]]:
    """A few pictures, spread evenly over all below ``directory`` in the order of their names.

    Args:
        directory: directory with pictures.
        option: the option that names it, for errors.
        window: the model's window, for pictures of more than 8 bits.

    Raises:
        UserError: there are no pictures, or one cannot be read.
    """
    paths = sorted(path for path in directory.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(
            f"{directory}: no pictures; expected some of {', '.join(sorted(IMAGE_SUFFIXES))}: "
            f"name another directory with {option}"
        )
    chosen = np.unique(np.linspace(0, len(paths) - 1, NUM_IMAGES).round().astype(int))
    return [read_image(paths[index], window) for index in chosen]


def passes(comparisons: Sequence[Comparison], parity: Parity) -> bool:
    """Whether enough of all detections, unmatched ones included, are within ``parity``."""
    agreeing, total = agreement(comparisons, parity)
    return agreeing >= parity.share * total


def require_agreement(comparisons: Sequence[Comparison], parity: Parity, output: Path, source: str) -> None:
    """Raise a :class:`MismatchError` unless the file :func:`passes`.

    Args:
        comparisons: one for each batch.
        parity: how near detections must be, and how many of them.
        output: the file, as errors name it.
        source: what the file was made from, as errors name it.
    """
    if not passes(comparisons, parity):
        agreeing, total = agreement(comparisons, parity)
        raise MismatchError(
            f"{output}: not written, {agreeing} of {total} detections agree with {source}; "
            f"expected {parity.share:.0%} of them",
            comparisons,
            parity,
        )


def agreement(comparisons: Sequence[Comparison], parity: Parity) -> tuple[int, int]:
    """The number of detections within ``parity``, and of all."""
    total = sum(len(comparison.boxes) + comparison.unmatched for comparison in comparisons)
    return sum(comparison.agreeing(parity) for comparison in comparisons), total


def _differences(first: Detections, second: Detections, i: int, j: int) -> tuple[float, float, float]:
    masks = first.masks[i] >= 0.5, second.masks[j] >= 0.5
    union = np.logical_or(*masks).sum()
    return (
        float(np.abs(first.boxes[i] - second.boxes[j]).max()),
        float(np.abs(first.scores[i] - second.scores[j])),
        float(np.logical_and(*masks).sum() / union) if union else 1.0,
    )
