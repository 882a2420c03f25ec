"""LVIS files keep what is known of each image; rare categories are repeated as the official model repeats them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.coco import read_coco
from refinemask.data.lvis import read_lvis, repeat_factors
from refinemask.files import UserError
from tests.support.lvis_cases import synthetic_case

GOLDEN = Path(__file__).parents[2] / "golden"


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_reads_version_1(tmp_path: Path) -> None:
    content, _ = synthetic_case(0)
    assert "file_name" not in content["images"][0]
    dataset = read_lvis(write(tmp_path / "lvis.json", content))
    assert [image.file_name for image in dataset.images][:2] == ["val2017/000000000003.jpg", "val2017/000000000005.jpg"]
    assert dataset.frequencies == {1: "r", 4: "c", 7: "f", 10: "r", 13: "c", 16: "f", 19: "r"}
    for image in content["images"]:
        assert dataset.negative[image["id"]] == set(image["neg_category_ids"])
        assert dataset.not_exhaustive[image["id"]] == set(image["not_exhaustive_category_ids"])
    assert sum(map(len, dataset.annotations.values())) == len(content["annotations"])


def test_reads_version_05_from_where_its_images_are() -> None:
    dataset = read_lvis(GOLDEN / "lvis_v0.5_val_cut.json")
    assert len(dataset.categories) == 98
    assert dataset.labels[dataset.category_ids[5]] == 5
    # The file says "COCO_val2014_000000038048.jpg"; the image is published with val2017, under its number alone.
    assert [image.file_name for image in dataset.images][:2] == ["val2017/000000038048.jpg", "val2017/000000089648.jpg"]


def test_refuses_coco_annotations(tmp_path: Path) -> None:
    content, _ = synthetic_case(0)
    for image in content["images"]:
        del image["neg_category_ids"]
        image["file_name"] = "a.jpg"
    path = write(tmp_path / "coco.json", content)
    assert read_coco(path).images
    with pytest.raises(UserError, match=r"coco.json.*'neg_category_ids', expected the annotations of LVIS v0.5 or v1"):
        read_lvis(path)


@pytest.mark.parametrize(
    ("kind", "key", "value", "message"),
    [
        ("images", "coco_url", None, "image .*: coco_url: expected text, found null"),
        ("images", "neg_category_ids", ["x"], r"neg_category_ids\[0\]: expected whole number, found text"),
        ("categories", "id", None, "id: expected whole number, found null"),
        ("categories", "frequency", "x", "frequency is 'x', expected r, c or f"),
    ],
)
def test_names_the_entry_at_fault(kind: str, key: str, value: Any, message: str, tmp_path: Path) -> None:
    content, _ = synthetic_case(0)
    content[kind][0][key] = value
    with pytest.raises(UserError, match=message):
        read_lvis(write(tmp_path / "lvis.json", content))


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("image_id", 1000, "left out"), ("category_id", 1000, "left out"), ("segmentation", None, "left out"),
     ("area", None, "mended"), ("bbox", None, "mended"), ("id", "x", "mended")],
)  # fmt: skip
def test_objects_are_mended_or_left_out_as_those_of_coco(key: str, value: Any, kind: str, tmp_path: Path) -> None:
    content, _ = synthetic_case(0)
    content["annotations"][0][key] = value
    dataset = read_lvis(write(tmp_path / "lvis.json", content))
    assert [finding.count for finding in dataset.findings if finding.kind == kind] == [1]
    objects = sum(map(len, dataset.annotations.values()))
    assert objects == len(content["annotations"]) - (kind == "left out")


def test_categories_of_objects_must_be_listed(tmp_path: Path) -> None:
    content, _ = synthetic_case(0)
    with pytest.raises(UserError, match="does not list category 1, expected all categories and their frequencies"):
        read_lvis(write(tmp_path / "lvis.json", {**content, "categories": []}))


def test_images_follow_their_rarest_category() -> None:
    # Of 4000 images category 1 is in 1, category 2 in 2, category 3 in all: sqrt(0.001 / f) = 2, 1.41 and 0.03.
    images = [{1, 2, 3}, {2, 3}, *({3} for _ in range(3998))]
    assert repeat_factors(images)[:3] == [2, 2, 1]


def test_a_category_at_the_threshold_is_not_repeated() -> None:
    assert repeat_factors([[1, 1, 1], *([] for _ in range(999))]) == [1] * 1000
    assert repeat_factors([[1, 1], *([] for _ in range(1000))])[0] == 2


def test_factor_is_rounded_up() -> None:
    count = 12_345
    assert repeat_factors([[5], *([] for _ in range(count - 1))])[0] == math.ceil(math.sqrt(0.001 * count)) == 4
    assert repeat_factors([[5], [], [], []], threshold=1.0) == [2, 1, 1, 1]
