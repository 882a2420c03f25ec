"""LVIS average precision on federated annotations (Gupta et al., LVIS, CVPR 2019, section 4).

An image says nothing about most categories. A detection counts only where its category was verified: the image has an
object of it, or lists it as negative. Where an image may have more objects of a category than are annotated, unmatched
detections are ignored. The figures are those of the ``lvis`` package 0.5.3, which current NumPy no longer runs.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoAnnotation, CocoImage
from refinemask.data.lvis import FREQUENCIES, LvisDataset
from refinemask.evaluation.average_precision import (
    AREA_RANGES,
    Judgement,
    in_range,
    interpolated_precision,
    judge,
    mean_precision,
    summarize,
)
from refinemask.evaluation.results import read_results
from refinemask.files import UserError
from refinemask.masks import segmentation_rle
from refinemask.structures import Result

MAX_DETECTIONS = 300
"""Detections that count per image, over all categories."""

IoUType = Literal["bbox", "segm"]
IOU_TYPES: tuple[IoUType, ...] = ("bbox", "segm")
Item = TypeVar("Item")


def evaluate_lvis(
    dataset: LvisDataset, results: Mapping[int, Sequence[Result]], iou_type: IoUType = "segm"
) -> dict[str, float]:
    """Average precision over the images of ``results``, of the best 300 detections of each.

    A detection's area, which matters to the area ranges only, is its ``area``, or that of its ``bbox`` if it has one
    and of its mask otherwise. Objects and detections without area are left out. The reference has both rules, too.

    Args:
        dataset: the annotations, or for AP* those of ``read_cocofied``.
        results: entries by image id, read one image at a time, such as a ``PredictionFile``. An image
            without detections has an empty list; categories unknown to the dataset are left out.
        iou_type: overlap of masks (``segmentation``) or of boxes (``bbox``).

    Returns:
        AP (IoU .50:.95), AP50, AP75; APs, APm, APl by area; APr, APc, APf by the category's frequency in training.
        Each is in 0..1, or -1 where there is no object to find.

    Raises:
        UserError: there are results of an image that the dataset does not list, a result is malformed, or its mask is
            of another size than its image.
    """
    if unlisted := set(results) - {image.id for image in dataset.images}:
        raise UserError(
            f"{dataset.path}: does not list {len(unlisted)} images of the results (image {min(unlisted)} first); "
            "evaluate them on the annotations they were predicted for"
        )
    required = ("bbox",) if iou_type == "bbox" else ("segmentation",)
    judgements: dict[int, list[Judgement]] = defaultdict(list)
    num_objects: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(len(AREA_RANGES), np.int64))
    for image in dataset.images:
        if image.id not in results:
            continue
        checked = read_results(results[image.id], image.height, image.width, f"results of image {image.id}", required)
        best = sorted(checked, key=lambda result: -result["score"])[:MAX_DETECTIONS]
        found = _group((result for result in best if _area(result) > 0), lambda result: result["category_id"])
        present = _group((a for a in dataset.annotations[image.id] if a.area > 0), lambda a: a.category_id)
        for category, objects in present.items():
            num_objects[category] += in_range([a.area for a in objects]).sum(1)
        for category in found.keys() & (present.keys() | dataset.negative[image.id]):
            exhaustive = category not in dataset.not_exhaustive[image.id]
            judgements[category].append(_judge(found[category], present[category], image, exhaustive, iou_type))
    precision = np.stack([interpolated_precision(judgements[c], num_objects[c]) for c in dataset.categories])
    frequencies = np.array(list(map(dataset.frequencies.__getitem__, dataset.categories)))
    return summarize(precision) | {f"AP{f}": mean_precision(precision[frequencies == f, 0]) for f in FREQUENCIES}


def _group(items: Iterable[Item], key: Callable[[Item], int]) -> dict[int, list[Item]]:
    groups: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _judge(
    found: list[Result], present: list[CocoAnnotation], image: CocoImage, exhaustive: bool, iou_type: IoUType
) -> Judgement:
    """Judge what was found of one category in one image, best first, by the objects present."""
    return judge(
        scores=[result["score"] for result in found],
        areas=[_area(result) for result in found],
        overlaps=_overlaps(found, present, image, iou_type),
        ignored=~in_range([a.area for a in present]),
        crowd=np.zeros(len(present), bool),
        exhaustive=exhaustive,
    )


def _overlaps(
    found: list[Result], present: list[CocoAnnotation], image: CocoImage, iou_type: IoUType
) -> NDArray[np.float64]:
    """IoU [D, G]."""
    if not present:
        return np.zeros((len(found), 0))
    not_crowd = [0] * len(present)
    if iou_type == "bbox":
        return np.asarray(coco_mask.iou([r["bbox"] for r in found], [list(a.bbox) for a in present], not_crowd))
    masks, objects = (
        [segmentation_rle(segmentation, image.height, image.width) for segmentation in segmentations]
        for segmentations in ([result["segmentation"] for result in found], [a.segmentation for a in present])
    )
    return np.asarray(coco_mask.iou(masks, objects, not_crowd))


def _area(result: Result) -> float:
    if "area" in result:
        return float(result["area"])
    if "bbox" in result:
        return float(result["bbox"][2] * result["bbox"][3])
    return float(coco_mask.area(result["segmentation"]))
