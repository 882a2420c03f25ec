"""Class maps of whole images, which HTC's semantic branch learns from."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinemask.config import DataConfig
from refinemask.data.coco import read_coco
from refinemask.data.sampler import Pick
from refinemask.data.training import TrainingDataset
from refinemask.files import UserError

CONFIG = DataConfig(annotations="", images="", short_sides=(120,), long_side=160, horizontal_flip=0.0)


def dataset(root: Path, labels: np.ndarray | bytes | None, config: DataConfig = CONFIG) -> TrainingDataset:
    """One image of 60 × 80 with one object, and its class map."""
    (root / "maps").mkdir()
    cv2.imwrite(str(root / "photo.png"), np.zeros((60, 80, 3), np.uint8))
    if isinstance(labels, bytes):
        (root / "maps" / "photo.png").write_bytes(labels)
    elif labels is not None:
        cv2.imwrite(str(root / "maps" / "photo.png"), labels)
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 20, 30], "area": 600, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "photo.png", "height": 60, "width": 80}],
        "annotations": [{**entry, "segmentation": [[10, 20, 30, 20, 30, 50, 10, 50]]}],
        "categories": [{"id": 1, "name": "box"}],
    }
    (root / "a.json").write_text(json.dumps(content))
    return TrainingDataset(read_coco(root / "a.json"), root, config, semantic_dir=root / "maps")


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_maps_follow_their_image(tmp_path: Path, flip: float) -> None:
    labels = np.full((60, 80), 255, np.uint8)
    labels[20:50, 10:30] = 7
    found = dataset(tmp_path, labels, replace(CONFIG, horizontal_flip=flip))[Pick(0, 0)].targets.semantic
    expected = np.full((120, 160), 255)
    expected[40:100, 20:60] = 7
    np.testing.assert_array_equal(found, expected[:, ::-1] if flip else expected)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (b"junk", "is no picture"),
        (np.zeros((60, 81), np.uint8), r"is uint8 \(60, 81\)"),
        (np.zeros((60, 80, 3), np.uint8), r"is uint8 \(60, 80, 3\)"),
    ],
)
def test_what_is_no_class_map_of_the_image_is_named(tmp_path: Path, labels: np.ndarray | bytes, reason: str) -> None:
    with pytest.raises(UserError, match=rf"photo\.png: {reason}, expected a class map, uint8 \(60, 80\)"):
        dataset(tmp_path, labels)[Pick(0, 0)]


def test_a_missing_map_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"maps: 1 of the 1 files for the images of .*, the first is 'photo\.png'"):
        dataset(tmp_path, None)
