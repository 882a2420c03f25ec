"""COCO average precision of boxes, masks and mask boundaries; faster-coco-eval finds the boundaries.

The figures are those of ``pycocotools`` on the same result file. The area of an object is the annotated one. The area
of a detection, which matters to the area ranges only, is that of its ``bbox``, for masks too: so pycocotools reads
entries with a ``bbox``, and so the published AP of small, medium and large objects were measured. A detection with an
``area`` of its own, as ``ResultsFile`` gives those without a ``bbox``, has that one.
Boundary AP (Cheng et al., Boundary IoU, CVPR 2021) takes the smaller of mask IoU and boundary IoU.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from faster_coco_eval.core import mask as mask_api
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoDataset, CocoImage
from refinemask.evaluation.average_precision import (
    AREA_RANGES,
    Judgement,
    in_range,
    interpolated_precision,
    judge,
    summarize,
)
from refinemask.evaluation.results import read_results
from refinemask.masks import segmentation_rle
from refinemask.structures import Result

IoUType = Literal["bbox", "segm", "boundary"]
IOU_TYPES: tuple[IoUType, ...] = ("bbox", "segm", "boundary")
COCO_MAX_DETECTIONS = 100
BOUNDARY_WIDTH = 0.02
"""Width of a boundary, as a share of the image's diagonal."""


@dataclass
class _Category:
    """The running counts of one category: some ninety bytes per detection and IoU type."""

    num_objects: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(AREA_RANGES), np.int64))
    judgements: dict[IoUType, list[Judgement]] = field(default_factory=lambda: defaultdict(list))


def default_max_detections(dataset: CocoDataset) -> int:
    """COCO's 100 detections per image, or as many as the most crowded image has objects."""
    return max([COCO_MAX_DETECTIONS, *map(len, dataset.annotations.values())])


def evaluate_coco(
    dataset: CocoDataset,
    results: Mapping[int, Sequence[Result]],
    iou_types: Sequence[IoUType] = IOU_TYPES,
    max_detections: int | None = None,
) -> dict[str, dict[str, float]]:
    """Average precision over the images of ``results``.

    One image's masks are in memory at a time.

    Args:
        dataset: the annotations.
        results: entries by image id, such as a ``PredictionFile``; an image without detections has an empty list,
            and one that is absent is not evaluated.
        iou_types: kinds of overlap to judge by.
        max_detections: detections that count per image and category; None is :func:`default_max_detections`.

    Returns:
        For each IoU type AP, AP50, AP75, APs, APm, APl in 0..1, or -1 where there is no object to find.

    Raises:
        UserError: a result is malformed, or its mask is of another size than its image.
    """
    limit = default_max_detections(dataset) if max_detections is None else max_detections
    categories = {category: _Category() for category in dataset.categories}
    for image in dataset.images:
        if image.id in results:
            _judge_image(categories, dataset, image, results[image.id], iou_types, limit)
    return {
        iou_type: summarize(
            np.stack([interpolated_precision(c.judgements[iou_type], c.num_objects) for c in categories.values()])
        )
        for iou_type in iou_types
    }


def _judge_image(
    categories: dict[int, _Category],
    dataset: CocoDataset,
    image: CocoImage,
    results: Sequence[Result],
    iou_types: Sequence[IoUType],
    limit: int,
) -> None:
    objects: list[dict[str, Any]] = [
        {"image_id": image.id, "category_id": a.category_id, "bbox": list(a.bbox), "segmentation": a.segmentation,
         "area": a.area, "crowd": a.iscrowd}
        for a in dataset.annotations[image.id]
    ]  # fmt: skip
    masks = {"segm", "boundary"} & set(iou_types)
    required = ("bbox", "segmentation") if masks else ("bbox",)
    checked = read_results(results, image.height, image.width, f"results of image {image.id}", required)
    detections = [{**result, "image_id": image.id} for result in sorted(checked, key=lambda result: -result["score"])]
    overlapped = {a["category_id"] for a in objects} & {result["category_id"] for result in detections}
    compared = [entry for entry in objects + detections if entry["category_id"] in overlapped]
    for entry in compared if masks else ():
        entry["segmentation"] = entry["rle"] = segmentation_rle(entry["segmentation"], image.height, image.width)
    if "boundary" in iou_types:
        size = {image.id: (image.height, image.width)}
        mask_api.calculateRleForAllAnnotations(compared, size, True, True, BOUNDARY_WIDTH, os.cpu_count() or 1)
    for category_id in {entry["category_id"] for entry in objects + detections} & categories.keys():
        present = [entry for entry in objects if entry["category_id"] == category_id]
        found = [entry for entry in detections if entry["category_id"] == category_id][:limit]
        ignored = ~in_range([a["area"] for a in present]) | np.array([a["crowd"] for a in present], bool)
        category = categories[category_id]
        category.num_objects += (~ignored).sum(1)
        for iou_type in iou_types if found else ():
            category.judgements[iou_type].append(_judge(found, present, ignored, iou_type))


def _judge(
    found: list[dict[str, Any]], present: list[dict[str, Any]], ignored: NDArray[np.bool_], iou_type: IoUType
) -> Judgement:
    """Judge what was found of one category in one image, best first, by the objects present; ``ignored`` is [4, G]."""
    crowd = np.array([entry["crowd"] for entry in present], bool)
    return judge(
        scores=[entry["score"] for entry in found],
        areas=[entry.get("area", entry["bbox"][2] * entry["bbox"][3]) for entry in found],
        overlaps=_overlaps(found, present, crowd, iou_type),
        ignored=ignored,
        crowd=crowd,
    )


def _overlaps(
    found: list[dict[str, Any]], present: list[dict[str, Any]], crowd: NDArray[np.bool_], iou_type: IoUType
) -> NDArray[np.float64]:
    """IoU [D, G]; for a crowd, the share of the detection that lies in the crowd."""

    def overlap(key: str) -> NDArray[np.float64]:
        return np.asarray(coco_mask.iou([f[key] for f in found], [p[key] for p in present], crowd.astype(int).tolist()))

    if not present:
        return np.zeros((len(found), 0))
    if iou_type == "bbox":
        return overlap("bbox")
    if iou_type == "segm":
        return overlap("rle")
    return np.where(crowd, overlap("rle"), np.minimum(overlap("rle"), overlap("boundary")))
