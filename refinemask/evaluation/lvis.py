"""LVIS average precision on federated annotations (Gupta et al., LVIS, CVPR 2019, section 4).

An image says nothing about most categories. A detection counts only where its category was verified: it has an object
in the image, or is listed in ``neg_category_ids``. Where objects of a category may be missing
(``not_exhaustive_category_ids``), its unmatched detections are ignored. The numbers are those of the ``lvis`` package
0.5.3, which no longer runs on current NumPy.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from pycocotools import mask as mask_api

from refinemask.files import UserError

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large in square pixels of the original image; both ends belong to a range."""
MAX_DETECTIONS = 300
"""Per image, over all categories."""

Record = Mapping[str, Any]
"""An annotation or a result of a COCO-format file."""


def evaluate_lvis(
    dataset: Mapping[str, Any], results: Iterable[Record], iou_type: Literal["segm", "bbox"] = "segm"
) -> dict[str, float]:
    """Average precision of detections on an LVIS annotation file.

    Args:
        dataset: content of the annotation file.
        results: COCO results, in any order. The area of a detection is that of its ``bbox`` where it has one, as in the
            reference (it matters for the area ranges only), otherwise of its mask.
        iou_type: overlap of masks or of boxes.

    Returns:
        AP (IoU .50:.95), AP50, AP75, by area APs, APm, APl, by frequency of the category in the training set APr,
        APc, APf; each in 0..1, or -1 where no object is there to be found.

    Raises:
        UserError: a result names an image that is not in the dataset.
    """
    frequencies = {category["id"]: category["frequency"] for category in dataset["categories"]}
    objects = _by_image(a for a in dataset["annotations"] if a["category_id"] in frequencies and a["area"] > 0)
    detections = _by_image(results)
    images = sorted(dataset["images"], key=lambda image: image["id"])
    if unknown := detections.keys() - {image["id"] for image in images}:
        raise UserError(
            f"results of {len(unknown)} images (the first is {min(unknown)}) that the annotation file does not list: "
            "evaluate on the annotation file they were predicted for"
        )
    num_objects: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(len(AREA_RANGES), int))
    matches: dict[int, list[Matches]] = defaultdict(list)
    for image in images:
        best = sorted(detections.pop(image["id"], []), key=lambda result: -result["score"])[:MAX_DETECTIONS]
        found, present = _by_category(best), _by_category(objects[image["id"]])
        for category in frequencies.keys() & (present.keys() | set(image["neg_category_ids"])):
            truth = _Regions.of(present[category], image, iou_type)
            num_objects[category] += truth.in_range.sum(1)
            if found[category]:
                exhaustive = category not in image["not_exhaustive_category_ids"]
                matches[category].append(_match(_Regions.of(found[category], image, iou_type), truth, exhaustive))
    return _summarize(
        {c: _precision(matches[c], num_objects[c]) for c in sorted(num_objects)},
        frequencies,
    )
