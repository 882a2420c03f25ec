"""A file's computation judged stage by stage, each on what the file's own stages before it have found.

Detections of near-equal scores depend on roundings, so a comparison of detections alone would take ties for faults, or
faults for ties. Here the network's maps, logits and masks are compared value by value with those that PyTorch computes
in float32 from the same proposals and detections; and both choices, of proposals and of detections, are judged by the
values that the file itself chose from.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.choice import SCORE_ROUNDING, Boxes, Candidates, faults, limited
from export.verify import ObservedRunner
from refinemask.agreement import PARITY, Comparison, MismatchError, StageCheck, compare, verification_batches
from refinemask.contract import Bounds
from refinemask.modeling.anchors import STRIDES
from refinemask.modeling.boundaries import observed
from refinemask.modeling.box_coder import clip, decode
from refinemask.modeling.box_head import BoxHead, DetectedBoxes
from refinemask.modeling.detector import Detector
from refinemask.ops import constant
from refinemask.structures import Detections

MANY = 32
"""Number of rows from which on their mean deviation is judged, too."""


class Limits(NamedTuple):
    """Largest deviations of a file's values from PyTorch's, as shares of the spread of PyTorch's values."""

    mean: float
    """Of the values of a level or an image, as a root of the mean square."""
    row: float
    """Of the values of one cell, one proposal or one detection: a rounding may tip where it is sampled."""


LIMITS: dict[str, Limits] = {
    # Sums in another order: R50 deviates by up to 1e-5, the farthest cell by 5e-5.
    "fp32": Limits(mean=1e-4, row=2e-3),
    # Eleven bits of every activation and weight: R50 deviates by up to 0.005, the farthest cell by 0.025.
    "fp16": Limits(mean=0.02, row=0.1),
    # Eight bits: measured 0.046 and 0.11.
    "bf16": Limits(mean=0.15, row=0.8),
}
"""Limits for the network's values, by the file's precision."""
MASK_LIMITS: dict[str, Limits] = {
    # A sign that tips at a stage's boundary exchanges a block of pixels for those of another stage.
    "fp32": Limits(mean=0.02, row=0.3),
    "fp16": Limits(mean=0.15, row=0.5),
    "bf16": Limits(mean=0.5, row=1.0),
}
"""Limits for the masks' probabilities."""


def verify_stages(
    file: ObservedRunner, detector: Detector, precision: str, bounds: Bounds, images: Sequence[NDArray[np.uint8]]
) -> tuple[list[StageCheck], list[Comparison]]:
    """Judge each stage of a file on the batches of a verification, and compare its detections with PyTorch's."""
    stages, comparisons = [], []
    for shape, inputs in verification_batches(detector.config.preprocessing, bounds, images):
        found, values = file(inputs)
        values = _with_parted_maps(values, len(detector.config.rpn.anchor_ratios))
        with torch.inference_mode():
            tensors = Detections(*map(torch.from_numpy, found))
            batch = torch.from_numpy(inputs.images), torch.from_numpy(inputs.image_sizes)
            checks, expected = check_stages(detector, *batch, tensors, values, precision)
        stages += checks
        comparisons.append(compare(shape, expected.numpy(), found))
    return stages, comparisons


def require_stages(
    stages: Sequence[StageCheck], comparisons: Sequence[Comparison], precision: str, output: Path
) -> None:
    """Raise a :class:`MismatchError` that names the first stage with a fault, if there is one."""
    for check in stages:
        if check.fault:
            shape = "x".join(map(str, check.shape))
            raise MismatchError(
                f"{output}: not written, its {check.stage} are not PyTorch's on images of {shape}: {check.fault}",
                comparisons,
                PARITY[precision],
                stages,
            )


def check_stages(
    detector: Detector,
    images: Tensor,
    image_sizes: Tensor,
    found: Detections,
    values: Mapping[str, Tensor],
    precision: str,
) -> tuple[list[StageCheck], Detections]:
    """Judge each stage of a file on a batch, and return PyTorch's own detections of it, too.

    Args:
        detector: the detector in float32.
        images: [B, 3, H, W] uint8.
        image_sizes: [B, 2] valid (height, width).
        found: the file's detections, as tensors.
        values: the file's values at the boundaries, float32.
        precision: the file's, which decides the limits.
    """
    features = detector.features(images, image_sizes)
    own = detector.detect(features, image_sizes)
    expected = Detections(*own, detector.segment(features, own))
    boxes = DetectedBoxes(found.boxes, found.scores, found.labels, found.num_detections)
    with observed(values) as boundaries:
        detector.detect(features, image_sizes)
    masks = detector.segment(features, boxes)
    limits, shape = LIMITS[precision], (len(images), images.shape[2], images.shape[3])
    checks = [
        *_compared_values(values, boundaries.seen, limits),
        _check_proposals(detector, image_sizes, values),
        _check_detections(detector, image_sizes, values, boxes),
        _compared_masks(boxes, found.masks, masks, MASK_LIMITS[precision]),
    ]
    return [check._replace(shape=shape) for check in checks], expected


def _compared_values(found: Mapping[str, Tensor], own: Mapping[str, Tensor], limits: Limits) -> Iterator[StageCheck]:
    """The values of the network's layers before the two choices."""
    for kind in ("logits", "deltas"):
        names = [f"rpn_{kind}_{level}" for level in range(len(own)) if f"rpn_{kind}_{level}" in own]
        yield _compare(f"RPN {kind}", _cells(found, names), _cells(own, names), limits)
    real = (found["proposal_scores"] >= 0).flatten()
    references = found["proposals"]
    for name in _refined(own):
        # Boxes differ by their places; what the stage has moved them by is small beside that.
        moved = [(each[name] - references).flatten(0, 1)[real] for each in (found, own)]
        yield _compare(name.replace("refined_", "boxes of stage "), [moved[0]], [moved[1]], limits)
        references = found[name]
    for name in ("class_logits", "box_deltas"):
        yield _compare(name.replace("_", " "), [found[name][real]], [own[name][real]], limits)


def _with_parted_maps(values: Mapping[str, Tensor], num_anchors: int) -> dict[str, Tensor]:
    """The values, with RPN's logits and deltas in maps of their own; a file computes both in one."""
    parted = dict(values)
    for level in range(len(STRIDES)):
        joint = parted.pop(f"rpn_joint_{level}")
        parted[f"rpn_logits_{level}"], parted[f"rpn_deltas_{level}"] = joint.tensor_split([num_anchors], dim=1)
    return parted


def _cells(values: Mapping[str, Tensor], levels: Sequence[str]) -> list[Tensor]:
    """Maps [B, C, h, w] of each level as rows [h · w, C] of each level and image."""
    return [cells for level in levels for cells in values[level].permute(0, 2, 3, 1).flatten(1, 2)]


def _compared_masks(boxes: DetectedBoxes, found: Tensor, own: Tensor, limits: Limits) -> StageCheck:
    real = torch.arange(boxes.labels.shape[1]) < boxes.num_detections[:, None]
    # Probabilities: one half is undecided.
    found, own = (masks[real].flatten(1) - 0.5 for masks in (found, own))
    return _compare("masks", [found], [own], limits, centred=False)


def _compare(
    stage: str, found: Sequence[Tensor], expected: Sequence[Tensor], limits: Limits, centred: bool = True
) -> StageCheck:
    """Groups of rows [N, C] beside each other."""
    everything = torch.cat(list(expected))
    if not len(everything):
        return StageCheck(stage, 0, 0.0, 0.0, "")
    centre = everything.mean(0) if centred else 0
    spread = (everything - centre).square().mean().sqrt().clamp(min=1e-12)
    rows = [(a - b).square().mean(1) / spread**2 for a, b in zip(found, expected, strict=True)]
    judged = [group for group in rows if len(group) >= MANY] + [torch.cat(rows)]
    mean, row = max(float(group.mean()) for group in judged) ** 0.5, float(torch.cat(rows).max()) ** 0.5
    fault = ""
    # NaN fails every comparison.
    if not (mean <= limits.mean and row <= limits.row):
        fault = f"deviate by {mean:.2g} of their spread, the farthest by {row:.2g}; "
        fault += f"expected at most {limits.mean:g} and {limits.row:g}"
    return StageCheck(stage, len(everything), mean, row, fault)


def _check_proposals(detector: Detector, image_sizes: Tensor, values: Mapping[str, Tensor]) -> StageCheck:
    """Whether the proposals are the RPN's best boxes after suppression within levels."""
    config, wrong = detector.config.rpn, []
    maps = [values[f"rpn_logits_{level}"] for level in range(len(STRIDES))]
    anchors = detector.rpn.anchors(maps)
    for image, (boxes, scores) in enumerate(zip(values["proposals"], values["proposal_scores"], strict=True)):
        levels = []
        for level, references in enumerate(anchors):
            score = maps[level][image].permute(1, 2, 0).flatten().sigmoid()
            deltas = values[f"rpn_deltas_{level}"][image].permute(1, 2, 0).reshape(-1, 4)
            groups = torch.full(score.shape, level)
            entering = _entering(score, deltas, references, groups, config.candidates_per_level, image_sizes[image])
            levels.append(entering)
        candidates = Candidates(
            *(torch.cat(parts) for parts in zip(*(_fields(level) for level in levels), strict=True))
        )
        real = scores >= 0
        chosen = Boxes(boxes[real], scores[real], None)
        wrong += _worded(image, faults(candidates, chosen, config.nms_iou, config.proposals), boxes[~real])
    return _choice("proposals", int((values["proposal_scores"] >= 0).sum()), wrong)


def _check_detections(
    detector: Detector, image_sizes: Tensor, values: Mapping[str, Tensor], detected: DetectedBoxes
) -> StageCheck:
    """Whether the detections are the best boxes of the box head after suppression within classes."""
    head = [module for module in detector.modules() if isinstance(module, BoxHead)][-1]
    config, classes, wrong = head.config, head.num_classes, []
    references = values[([*_refined(values)] or ["proposals"])[-1]]
    count = references.shape[1]
    scores = values["class_logits"].softmax(1)[:, :-1].reshape(-1, count, classes)
    deltas = values["box_deltas"].reshape(-1, count, classes, 4) * constant(config.delta_std, scores.device)
    for image, real in enumerate(values["proposal_scores"] >= 0):
        eligible = (scores[image] > config.score_threshold - SCORE_ROUNDING) & real[:, None]
        score = torch.where(eligible, scores[image], -1.0).flatten()
        labels, boxes = torch.arange(len(score)) % classes, references[image].repeat_interleave(classes, 0)
        candidates = _entering(
            score, deltas[image].flatten(0, 1), boxes, labels, config.candidates, image_sizes[image],
            torch.full_like(score, config.score_threshold),
        )  # fmt: skip
        number = int(detected.num_detections[image])
        chosen = Boxes(*(field[image, :number] for field in detected[:3]))
        padding = torch.cat([detected.boxes[image, number:], detected.scores[image, number:, None]], 1)
        wrong += _worded(image, faults(candidates, chosen, config.nms_iou, config.detections), padding)
    return _choice("detections", int(detected.num_detections.sum()), wrong)


def _entering(
    scores: Tensor,
    deltas: Tensor,
    references: Tensor,
    groups: Tensor,
    count: int,
    image_size: Tensor,
    threshold: Tensor | None = None,
) -> Candidates:
    """The best ``count`` of scored deltas [N, 4], and those that a rounding keeps from being among them."""
    limits, beyond = limited(scores, count)
    if threshold is not None:
        beyond = torch.maximum(beyond, threshold)
    entering = (scores >= limits - SCORE_ROUNDING) & (scores >= 0)
    boxes = clip(decode(deltas[entering], references[entering])[None], image_size[None])[0]
    return Candidates(boxes, scores[entering], groups[entering], limits[entering], beyond[entering])


def _fields(candidates: Candidates) -> tuple[Tensor, ...]:
    assert candidates.groups is not None
    return candidates.boxes, candidates.scores, candidates.groups, candidates.limits, candidates.beyond


def _refined(values: Mapping[str, Tensor]) -> list[str]:
    """Names of the boxes that a cascade's stages have refined, in order."""
    return [name for index in range(len(values)) if (name := f"refined_{index}") in values]


def _worded(image: int, found: Iterator[tuple[int, str]], padding: Tensor) -> list[tuple[int, str]]:
    padded = int((padding != 0).any(1).sum())
    return [(count, f"{count} {what} (image {image})") for count, what in (*found, (padded, "are padding")) if count]


def _choice(stage: str, count: int, wrong: list[tuple[int, str]]) -> StageCheck:
    share = sum(number for number, _ in wrong) / max(count, 1)
    return StageCheck(stage, count, share, share, ", ".join(text for _, text in wrong))
