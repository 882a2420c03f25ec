"""LVIS average precision on federated annotations (Gupta et al., LVIS, CVPR 2019, section 4).

An image says nothing about most categories. A detection counts only where its category was verified: the image has an
object of it, or lists it as negative. Where an image may have more objects of a category than are annotated, unmatched
detections are ignored. The figures are those of the ``lvis`` package 0.5.3, which current NumPy no longer runs.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoAnnotation, CocoImage, Segmentation
from refinemask.data.lvis import FREQUENCIES, LvisDataset
from refinemask.files import UserError

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large, in square pixels of the original image; both ends belong to a range."""
MAX_DETECTIONS = 300
"""Per image, over all categories."""

IoUType = Literal["segm", "bbox"]
Region = Segmentation | list[float]
Result = Mapping[str, Any]
"""A detection in COCO's results format."""
Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


class Judgement(NamedTuple):
    """Detections of one category in descending order of score; those neither true nor false are ignored.

    The axes are 4 area ranges, 10 IoU thresholds, ``D`` detections.
    """

    scores: NDArray[np.float64]
    """[D]"""
    true: NDArray[np.bool_]
    """[4, 10, D]: matched with an object within the area range."""
    false: NDArray[np.bool_]
    """[4, 10, D]"""


def evaluate_lvis(dataset: LvisDataset, results: Iterable[Result], iou_type: IoUType = "segm") -> dict[str, float]:
    """Average precision of the best 300 detections of each image.

    A detection's area, which matters to the area ranges only, is that of its ``bbox`` if it has one and of its mask
    otherwise. Objects and detections without area are left out. Both as in the reference.

    Args:
        results: in any order; categories the dataset does not have are left out.
        iou_type: overlap of masks (``segmentation``) or of boxes (``bbox``).

    Returns:
        AP (IoU .50:.95), AP50, AP75; APs, APm, APl by area; APr, APc, APf by the category's frequency in training.
        Each in 0..1, or -1 where the dataset has no object to find.

    Raises:
        UserError: a result is of an image that the dataset does not list.
    """
    detections = _group(results, lambda result: result["image_id"])
    if unlisted := detections.keys() - {image.id for image in dataset.images}:
        raise UserError(
            f"{dataset.path}: does not list {len(unlisted)} images of the results (image {min(unlisted)} first); "
            "evaluate them on the annotations they were predicted for"
        )
    judgements: dict[int, list[Judgement]] = defaultdict(list)
    num_objects: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(len(AREA_RANGES), np.int64))
    for image in dataset.images:
        objects = _group((a for a in dataset.annotations[image.id] if a.area > 0), lambda a: a.category_id)
        best = sorted(detections.pop(image.id, ()), key=lambda result: -result["score"])[:MAX_DETECTIONS]
        found = _group((result for result in best if _area(result) > 0), lambda result: result["category_id"])
        for category, group in objects.items():
            num_objects[category] += _in_range([a.area for a in group]).sum(1)
        for category in found.keys() & (objects.keys() | dataset.negative[image.id]):
            exhaustive = category not in dataset.not_exhaustive[image.id]
            judgements[category].append(
                _judge(found[category], objects[category], image, exhaustive=exhaustive, iou_type=iou_type)
            )
    precision = np.stack([_precision(judgements[c], num_objects[c]) for c in dataset.categories])
    return _summarize(precision, np.array([dataset.frequencies[c] for c in dataset.categories]))


def _group(items: Iterable[Item], key: Any) -> dict[Any, list[Item]]:
    groups: dict[Any, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _area(result: Result) -> float:
    if "bbox" in result:
        return float(result["bbox"][2] * result["bbox"][3])
    return float(coco_mask.area(result["segmentation"]))


def _in_range(areas: list[float]) -> NDArray[np.bool_]:
    low, high = AREA_RANGES[:, :1], AREA_RANGES[:, 1:]
    return (low <= np.array(areas)) & (np.array(areas) <= high)


def _judge(
    detections: list[Result], objects: list[CocoAnnotation], image: CocoImage, *, exhaustive: bool, iou_type: IoUType
) -> Judgement:
    """Judge one category's detections, sorted by descending score, in one image."""
    objects_in_range = _in_range([a.area for a in objects])
    matched, outside = _match(_overlaps(detections, objects, image, iou_type), ~objects_in_range)
    counts = _in_range([_area(result) for result in detections])[:, None] & exhaustive
    return Judgement(
        scores=np.array([result["score"] for result in detections], np.float64),
        true=matched & ~outside,
        false=~matched & counts,
    )


def _overlaps(
    detections: list[Result], objects: list[CocoAnnotation], image: CocoImage, iou_type: IoUType
) -> NDArray[np.float64]:
    """IoU [D, G]."""
    if not objects:
        return np.zeros((len(detections), 0))
    if iou_type == "bbox":
        pair = [result["bbox"] for result in detections], [list(a.bbox) for a in objects]
        return np.asarray(coco_mask.iou(*pair, [0] * len(objects)))
    found = [_run_lengths(result["segmentation"], image) for result in detections]
    present = [_run_lengths(a.segmentation, image) for a in objects]
    return np.asarray(coco_mask.iou(found, present, [0] * len(objects)))


def _run_lengths(segmentation: Segmentation, image: CocoImage) -> dict[str, Any]:
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, image.height, image.width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, image.height, image.width)
    return segmentation


def _match(overlaps: NDArray[np.float64], ignored: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Give each detection in turn the free object it overlaps most, an ignored one only if no other is left.

    Args:
        overlaps: [D, G] IoU, detections by descending score.
        ignored: [4, G] objects outside each area range.

    Returns:
        [4, 10, D] whether each detection has an object, and whether that is an ignored one.
    """
    num_detections, num_objects = overlaps.shape
    shape = (len(AREA_RANGES), len(IOU_THRESHOLDS))
    matched = np.zeros((*shape, num_detections), bool)
    on_ignored = np.zeros_like(matched)
    free = np.ones((*shape, num_objects), bool)
    ignored = ignored[:, None]
    for detection in np.flatnonzero(overlaps.max(1, initial=0) >= IOU_THRESHOLDS[0]):
        candidates = free & (overlaps[detection] >= IOU_THRESHOLDS[:, None])
        counting = candidates & ~ignored
        candidates = np.where(counting.any(-1, keepdims=True), counting, candidates)
        # Of equal overlaps the last object wins, as in the reference.
        best = num_objects - 1 - np.where(candidates, overlaps[detection], -1)[..., ::-1].argmax(-1)
        taken = candidates & (np.arange(num_objects) == best[..., None])
        free &= ~taken
        matched[..., detection] = taken.any(-1)
        on_ignored[..., detection] = (taken & ignored).any(-1)
    return matched, on_ignored


def _precision(judgements: list[Judgement], num_objects: NDArray[np.int64]) -> NDArray[np.float64]:
    """Interpolated precision of one category [4, 10, 101] at the recall thresholds; NaN in area ranges without objects.

    Detections of equal score keep the order of their images.
    """
    precision = np.zeros((len(AREA_RANGES), len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS)))
    precision[num_objects == 0] = np.nan
    if not judgements:
        return precision
    order = np.argsort(-np.concatenate([j.scores for j in judgements]), kind="stable")
    true = np.concatenate([j.true for j in judgements], axis=-1)[..., order].cumsum(-1)
    false = np.concatenate([j.false for j in judgements], axis=-1)[..., order].cumsum(-1)
    envelope = np.maximum.accumulate((true / (true + false + np.spacing(1)))[..., ::-1], axis=-1)[..., ::-1]
    for area, threshold in np.ndindex(precision.shape[:2]):
        if num_objects[area]:
            positions = np.searchsorted(true[area, threshold] / num_objects[area], RECALL_THRESHOLDS)
            reached = positions < len(order)
            precision[area, threshold, reached] = envelope[area, threshold, positions[reached]]
    return precision


def _summarize(precision: NDArray[np.float64], frequencies: NDArray[np.str_]) -> dict[str, float]:
    """Means over the categories [C, 4, 10, 101] that have objects."""
    everywhere = precision[:, 0]
    parts = {
        "AP": everywhere,
        "AP50": everywhere[:, 0],
        "AP75": everywhere[:, 5],
        **{f"AP{size}": precision[:, 1 + area] for area, size in enumerate("sml")},
        **{f"AP{frequency}": everywhere[frequencies == frequency] for frequency in FREQUENCIES},
    }
    return {name: float(np.nanmean(part)) if np.isfinite(part).any() else -1.0 for name, part in parts.items()}
