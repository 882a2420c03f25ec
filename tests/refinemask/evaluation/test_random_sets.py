"""Precision and recall of every category, size and threshold equal the references on sets full of odd cases."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refinemask.data.coco import parse_coco
from refinemask.evaluation.average_precision import FEW_DETECTIONS, precision, recall
from refinemask.evaluation.coco import IOU_TYPES, IoUType, match_coco
from tests.support.coco_results import group_by_image
from tests.support.random_sets import random_set
from tests.support.reference_evaluators import Tables, faster_coco_eval_tables, pycocotools_tables
from tests.support.tolerances import TOLERANCES

FEW, MANY = range(24), range(24, 224)
LIMITS = 100, 300
"""Detections that count in sets with an even and with an odd seed: fewer and more than there are of a category."""
EQUAL = TOLERANCES["average precision"].absolute
LOWEST = 17
"""Height from which faster-coco-eval's boundaries are right in the images of the sets: it loses those of low ones."""


def our_tables(content: Any, results: Any, iou_type: IoUType, most: int) -> Tables:
    dataset = parse_coco(Path("random.json"), content)
    matches = match_coco(dataset, group_by_image(dataset, results), (iou_type,), most)[iou_type]
    return Tables(precision(matches), np.stack([recall(matches, limit) for limit in (*FEW_DETECTIONS, most)]))


def assert_equal(seed: int, iou_type: IoUType) -> None:
    content, results = random_set(seed)
    most = LIMITS[seed % 2]
    ours, limits = our_tables(content, results, iou_type, most), (*FEW_DETECTIONS, most)
    references = [pycocotools_tables(content, results, iou_type, limits)]
    if iou_type == "boundary" and all(image["height"] >= LOWEST for image in content["images"]):
        references.append(faster_coco_eval_tables(content, results, iou_type, limits))
    for reference in references:
        for found, expected in zip(ours, reference, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=EQUAL, err_msg=f"seed {seed}, {iou_type}")


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_equal_on_a_few_sets(iou_type: IoUType) -> None:
    for seed in FEW:
        assert_equal(seed, iou_type)


@pytest.mark.slow
@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_equal_on_many_sets(iou_type: IoUType) -> None:
    for seed in MANY:
        assert_equal(seed, iou_type)


def test_the_sets_are_as_odd_as_they_say() -> None:
    sets = [random_set(seed) for seed in FEW]
    objects = [entry for content, _ in sets for entry in content["annotations"]]
    assert {entry["iscrowd"] for entry in objects} == {0, 1}
    assert any(entry["area"] == 0 for entry in objects)
    assert any(entry["bbox"][2] == 0 for entry in objects)
    assert any(1 in (image["height"], image["width"]) for content, _ in sets for image in content["images"])
    assert any(_most_of_a_category(results) > 100 for _, results in sets)
    assert any(
        {entry["image_id"] for entry in content["annotations"]} < {image["id"] for image in content["images"]}
        for content, _ in sets
    )
    # Nothing is left out by our reader, which the references do not have.
    assert not [
        finding
        for content, _ in sets
        for finding in parse_coco(Path("random.json"), content).findings
        if finding.kind == "left out"
    ]


def _most_of_a_category(results: list[dict[str, Any]]) -> int:
    pairs = [(entry["image_id"], entry["category_id"]) for entry in results]
    return max(map(pairs.count, pairs))
