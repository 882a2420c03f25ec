"""Damaged annotations of other formats than COCO's: refused in a line, or read as objects within their pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoDataset
from refinemask.data.coco_text import dataset_text
from refinemask.data.reading import read_annotations
from refinemask.masks import segmentation_rle
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal
from tests.support.other_formats import FORMATS, SQUARE, WIDTH, base64_mask, label_map, labelme_file, shape, text

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")

DATA = {"path": ".", "train": "images/train", "val": ["images/val"], "nc": 2, "names": {"0": "cat", "1": "dog"}}
TOKENS = ("", "x", "nan", "-inf", "1e308", "1e400", "-0.0", "0.5", "2", "99", "1_0", "\x00", "١", "0x1", "9" * 400)
"""Words of a line of labels."""


def assert_sound(dataset: CocoDataset) -> None:
    """Every object lies in its picture, with the area of its mask, and the whole can be written as JSON."""
    assert dataset.images
    for image in dataset.images:
        for annotation in dataset.annotations[image.id]:
            rle = segmentation_rle(annotation.segmentation, image.height, image.width)
            assert coco_mask.decode(rle).sum() == annotation.area
            x, y, width, height = annotation.bbox
            assert 0 <= x <= x + width <= image.width * (1 + 1e-9)
            assert 0 <= y <= y + height <= image.height * (1 + 1e-9)
            assert annotation.category_id in dataset.categories
    json.loads(dataset_text(dataset))
    assert all("\n" not in str(finding) or "\n" in str(dataset.path) for finding in dataset.findings)


def outcome(path: str | Path) -> bool:
    """Whether annotations are taken."""
    found: list[CocoDataset] = []
    if refusal(lambda: found.append(read_annotations(path))) is not None:
        return False
    assert_sound(found[0])
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes(seeds: Seeds, tmp_path: Path, name: str) -> None:
    places = FORMATS[name](tmp_path / "set")
    files = sorted(path for path in (tmp_path / "set").rglob("*") if path.is_file())
    taken = 0
    for random in seeds(30):
        path = files[random.integers(len(files))]
        data = path.read_bytes()
        path.write_bytes(mutated_bytes(data, random))
        taken += outcome(f"{places.annotations}{':train' if name == 'yolo' else ''}")
        path.write_bytes(data)
    assert taken > 10


def test_damaged_shapes_of_labelme(seeds: Seeds, tmp_path: Path) -> None:
    places = FORMATS["labelme"](tmp_path)
    whole = label_map() == 2
    drawn = [
        shape("cat", SQUARE, group_id=1),
        shape("cat", [0, 0, WIDTH - 1, len(whole) - 1], "mask", mask=base64_mask(whole), group_id=1),
        shape("dog", [9, 9, 12, 12], "circle"),
        shape("dog", [9, 9, 12, 12], "rectangle"),
        shape("dog", SQUARE, "linestrip"),
    ]
    content = json.loads(labelme_file(tmp_path / "a.json", drawn).read_text())
    taken = 0
    for random in seeds(60):
        part: Any = mutated_json(content, random) if random.random() < 0.5 else content
        if part is content:
            part = content | {"shapes": mutated_json(content["shapes"], random)}
        text(tmp_path / "a.json", json.dumps(part))
        taken += outcome(places.annotations)
    assert taken > 30


def test_damaged_data_files_of_yolo(seeds: Seeds, tmp_path: Path) -> None:
    path = FORMATS["yolo"](tmp_path / "set").annotations
    taken = refused = 0
    for random in seeds(60):
        # JSON is YAML, too.
        text(path, json.dumps(mutated_json(DATA, random)))
        accepted = outcome(f"{path}:{random.choice(['train', 'val'])}")
        taken, refused = taken + accepted, refused + (not accepted)
    assert min(taken, refused) > 5


def test_damaged_lines_of_yolo(seeds: Seeds, tmp_path: Path) -> None:
    path = FORMATS["yolo"](tmp_path / "set").annotations
    labels = tmp_path / "set" / "labels" / "train" / "a.txt"
    lines = [line.split(" ") for line in labels.read_text().splitlines()]
    for random in seeds(60):
        changed = [list(line) for line in lines]
        for _ in range(random.integers(1, 4)):
            line = changed[random.integers(len(changed))]
            place = int(random.integers(len(line) + 1))
            line[place : place + int(random.integers(2))] = [TOKENS[random.integers(len(TOKENS))]]
        labels.write_text("\n".join(" ".join(line) for line in changed))
        assert outcome(f"{path}:train")


def test_damaged_classes_of_voc(seeds: Seeds, tmp_path: Path) -> None:
    places = FORMATS["voc"](tmp_path / "set")
    files = [places.annotations / "Annotations" / "a.xml", places.annotations / "ImageSets/Segmentation/val.txt"]
    files.append(text(places.annotations / "labelmap.txt", "background:0,0,0::\ncat:64,0,0::\ndog:0,128,0:a:b\n"))
    for random in seeds(40):
        path = files[random.integers(len(files))]
        data = path.read_bytes()
        path.write_bytes(mutated_bytes(data, random))
        outcome(f"{places.annotations}{random.choice(['', ':val'])}")
        path.write_bytes(data)
    assert outcome(places.annotations)
