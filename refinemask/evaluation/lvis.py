"""LVIS average precision on federated annotations (Gupta et al., LVIS, CVPR 2019, section 4).

An image says nothing about most categories. A detection counts only where its category was verified: the category has
an object in the image, or is listed in ``neg_category_ids``. Where objects of a category may be missing
(``not_exhaustive_category_ids``) its unmatched detections are ignored. The figures are those of the ``lvis`` package
0.5.3, which no longer runs with current NumPy.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from refinemask.files import UserError

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large, in square pixels of the original image; both ends belong to a range."""
MAX_DETECTIONS = 300
"""Per image, over all categories."""

Record = Mapping[str, Any]
"""An image, category, annotation or result of a COCO-format file."""
IoUType = Literal["segm", "bbox"]


class _Detections(NamedTuple):
    """One category's detections, ``D`` in descending order of score, judged per area range and IoU threshold."""

    scores: np.ndarray
    """[D]"""
    true: np.ndarray
    """[4, 10, D] bool: matched with an object that counts."""
    false: np.ndarray
    """[4, 10, D] bool: matched with none. Detections that are neither are ignored."""


def evaluate_lvis(dataset: Record, results: Iterable[Record], iou_type: IoUType = "segm") -> dict[str, float]:
    """Average precision of COCO-format results on the content of an LVIS annotation file.

    Results may come in any order; the best 300 of each image count. A detection's area, which matters to the area
    ranges only, is that of its ``bbox`` if it has one and of its mask otherwise, as in the reference.

    Returns:
        AP (IoU .50:.95), AP50, AP75; APs, APm, APl by area; APr, APc, APf by the category's frequency in training.
        Each is in 0..1, or -1 where the dataset has no object to find.

    Raises:
        UserError: a result is of an image that the dataset does not list.
    """
    frequency = {category["id"]: category["frequency"] for category in dataset["categories"]}
    images = sorted(dataset["images"], key=lambda image: image["id"])
    objects = _group(dataset["annotations"], "image_id")
    detections = _group(results, "image_id")
    if unlisted := detections.keys() - {image["id"] for image in images}:
        raise UserError(
            f"the results are of {len(unlisted)} images (image {min(unlisted)} first) that the annotation file does "
            "not list: evaluate them on the annotations they were predicted for"
        )
    counts: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(len(AREA_RANGES)))
    judged: dict[int, list[_Detections]] = defaultdict(list)
    for image in images:
        best = sorted(detections.pop(image["id"], ()), key=lambda result: -result["score"])[:MAX_DETECTIONS]
        found, present = _group(best, "category_id"), _group(objects[image["id"]], "category_id")
        for category in frequency.keys() & (present.keys() | set(image["neg_category_ids"])):
            exhaustive = category not in image["not_exhaustive_category_ids"]
            truth = _Regions.of(present[category], image, iou_type)
            counts[category] += truth.in_range.sum(1)
            judged[category].append(_judge(found[category], truth, image, exhaustive))
    precision = {c: _precision(judged[c], counts[c]) for c in counts}
    return _summarize(precision, frequency)
