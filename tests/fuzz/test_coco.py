import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoDataset, read_coco
from refinemask.evaluation.coco import evaluate_coco
from refinemask.masks import segmentation_rle
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_json, refusal
from tests.support.small_annotations import CONTENT, RESULTS, damaged_content

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def assert_measured(dataset: CocoDataset) -> None:
    """Every object has a mask of its image's size, and the figures are numbers."""
    for image in dataset.images:
        results = RESULTS if (image.height, image.width) == (48, 40) else []
        figures = evaluate_coco(dataset, {image.id: results})
        assert all(value == -1 or 0 <= value <= 1 for table in figures.values() for value in table.values())
        for annotation in dataset.annotations[image.id]:
            rle = segmentation_rle(annotation.segmentation, image.height, image.width)
            assert coco_mask.decode(rle).shape == (image.height, image.width)


def assert_sound_entries_are_read(dataset: CocoDataset, content: dict[str, Any], whole: CocoDataset) -> int:
    """Every object that was not damaged, of images and categories that were not, is as without any damage."""
    if any(content[key] != CONTENT[key] for key in ("images", "categories")):
        return 0
    sound = [entry["id"] for entry in CONTENT["annotations"] if entry in content["annotations"]]
    for image in whole.images:
        for annotation in whole.annotations[image.id]:
            assert annotation.id not in sound or annotation in dataset.annotations[image.id]
    return len(sound)


def test_damaged_annotations_are_refused_or_measured(seeds: Seeds, tmp_path: Path) -> None:
    path, refused, measured, sound = tmp_path / "a.json", 0, 0, 0
    path.write_text(json.dumps(CONTENT))
    whole = read_coco(path)
    for random in seeds(120):
        content = damaged_content(random)
        path.write_text(json.dumps(content))
        if refusal(lambda: read_coco(path)) is None:
            dataset = read_coco(path)
            assert_measured(dataset)
            sound += assert_sound_entries_are_read(dataset, content, whole)
            measured += 1
        else:
            refused += 1
    # Hardly a damage makes the whole file meaningless.
    assert refused < measured / 10
    assert measured > 90
    assert sound > 200


def test_damaged_results_are_refused_or_measured(seeds: Seeds, tmp_path: Path) -> None:
    path, refused = tmp_path / "a.json", 0
    path.write_text(json.dumps(CONTENT))
    dataset = read_coco(path)
    for random in seeds(250):
        results = {1: mutated_json(RESULTS, random)}
        message = refusal(partial(evaluate_coco, dataset, results))
        refused += message is not None
        assert message is None or "image 1" in message
    assert refused > 0


def test_the_annotations_that_are_damaged_are_right(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(CONTENT))
    dataset = read_coco(path)
    first, second = (
        segmentation_rle(a.segmentation, 48, 40) for a in (*dataset.annotations[1][1:], dataset.annotations[2][0])
    )
    assert np.array_equal(np.flatnonzero(coco_mask.decode(first).T), np.arange(96))
    assert np.array_equal(np.flatnonzero(coco_mask.decode(second).T), np.arange(48, 144))
    assert evaluate_coco(dataset, {1: RESULTS})["segm"]["AP"] > 0
