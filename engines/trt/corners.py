"""The corners of an engine's profile, and whether its detections agree there with others of the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np

from refinemask.agreement import PARITY, Comparison, Parity, agreement, compare, match
from refinemask.contract import Bounds
from refinemask.json_files import Count, Positive
from refinemask.structures import Detections

ROW_PARITY = PARITY | {"int8": PARITY["fp16"], "fp8": PARITY["fp16"]}
"""Limits for an image in a batch beside the same image alone, by the engine's precision. Both have the same weights and
the same scales of quantised values; only sums in another order differ, as they do in fp16."""
FREE = 1
"""Detections that may differ at a corner, however few there are: a rounding decides between near-equal boxes."""
IMAGE_SHARE = 0.5
"""Smallest share of the detections of one image that must agree. What TensorRT computes wrongly at a batch is a row,
and a row can be less than the share of all detections that may differ."""

Measured = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""A difference, or an IoU."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The detections of one batch beside those of the same images computed otherwise."""

    detections: Count
    """Number of detections, without those that a rounding of the score alone decides."""
    agreeing: Count
    """Number of those within the limits."""
    box: Measured
    """Largest difference of a coordinate in input pixels."""
    score: Measured
    """Largest difference of a score."""
    mask: Measured
    """Smallest IoU of two masks."""


@dataclass(frozen=True, kw_only=True)
class Corner:
    """What a check found at one shape."""

    shape: tuple[Positive, Positive, Positive]
    """Batch, height and width of the padded images."""
    found: Count
    """Number of the engine's detections."""
    onnxruntime: Agreement | None
    """Beside ONNX Runtime on the exported file; None if it cannot run the file, which has no bodies."""
    rows: Agreement | None
    """Beside the engine itself, each image alone; None at batch 1."""


def corner_batches(bounds: Bounds) -> list[int]:
    """Batches of 1, 2 and the largest number of images, as far as the bounds allow."""
    smallest, _, largest = bounds.batch
    return sorted({min(max(batch, smallest), largest) for batch in (1, 2, largest)})


def corner_sizes(bounds: Bounds) -> list[tuple[int, int]]:
    """The smallest, the usual and the largest (height, width)."""
    return list(dict.fromkeys(zip(bounds.height, bounds.width, strict=True)))


def compare_images(
    shape: tuple[int, int, int],
    expected: Sequence[Detections],
    found: Sequence[Detections],
    parity: Parity,
    threshold: float,
) -> list[Comparison]:
    """Compare images one by one, each as a batch of one.

    A detection that one side lacks counts only if more than the limit of scores parts it from the lowest score that the
    other side could have kept: ``threshold``, or its own lowest where all its places hold detections.
    """
    comparisons = []
    for first, second in zip(expected, found, strict=True):
        comparison = compare(shape, first, second)
        pairs = list(match(_valid(first), _valid(second)))
        ties = sum(
            _near_floor(_valid(one), {pair[side] for pair in pairs}, _floor(other, threshold) + parity.scores)
            for side, one, other in ((0, first, second), (1, second, first))
        )
        comparisons.append(comparison._replace(unmatched=comparison.unmatched - ties))
    return comparisons


def summary(comparisons: Sequence[Comparison], parity: Parity) -> Agreement:
    """The agreement of a batch."""
    agreeing, total = agreement(comparisons, parity)
    boxes, scores, masks = (
        np.concatenate([getattr(each, name) for each in comparisons]) for name in ("boxes", "scores", "masks")
    )
    return Agreement(
        detections=total,
        agreeing=agreeing,
        box=float(boxes.max(initial=0)),
        score=float(scores.max(initial=0)),
        mask=float(masks.min(initial=1)),
    )


def disagreement(comparisons: Sequence[Comparison], parity: Parity) -> str | None:
    """What differs more than it may, in words; None if the batch agrees."""
    whole = summary(comparisons, parity)
    worst = f"worst box {whole.box:.3g} px, score {whole.score:.2g}, mask IoU {whole.mask:.3f}"
    for index, comparison in enumerate(comparisons):
        agreeing, total = agreement([comparison], parity)
        if agreeing < IMAGE_SHARE * total:
            return f"{agreeing} of {total} detections agree in image {index} of the batch ({worst})"
    if whole.detections - whole.agreeing > FREE and whole.agreeing < parity.share * whole.detections:
        return f"{whole.agreeing} of {whole.detections} detections agree, expected {parity.share:.0%} ({worst})"
    return None


def table(corners: Sequence[Corner]) -> str:
    """The corners as text, a line each."""
    lines = [f"{'shape':>14} {'found':>6}  {'like ONNX Runtime':36}  each image like alone"]
    for corner in corners:
        shape = "x".join(map(str, corner.shape))
        parts = (corner.onnxruntime, "not compared"), (corner.rows, "-")
        beside = (_shown(part) if part else otherwise for part, otherwise in parts)
        lines.append(f"{shape:>14} {corner.found:6}  {next(beside):36}  {next(beside)}")
    return "\n".join(lines)


def _shown(part: Agreement) -> str:
    return f"{part.agreeing}/{part.detections} {part.box:.2g} px {part.score:.1g} IoU {part.mask:.3f}"


def _valid(image: Detections) -> Detections:
    """The detections of a batch of one, padding left out."""
    count = int(image.num_detections[0])
    return Detections(*(field[0, :count] if field.ndim > 1 else field for field in image))


def _floor(image: Detections, threshold: float) -> float:
    """The lowest score that a batch of one keeps."""
    scores = _valid(image).scores
    return float(scores.min()) if len(scores) == image.scores.shape[1] else threshold


def _near_floor(image: Detections, matched: set[int], limit: float) -> int:
    return sum(index not in matched and score <= limit for index, score in enumerate(image.scores))
