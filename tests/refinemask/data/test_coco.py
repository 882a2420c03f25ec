"""Annotation files are read as they are, or refused with a line that says what is wrong where."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.coco import read_coco
from refinemask.files import UserError

PHOTOS = Path(__file__).resolve().parents[3] / "demo" / "photos" / "annotations" / "instances_val.json"
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "b.jpg", "height": 10, "width": 20},
        {"id": 3, "file_name": "a.jpg", "height": 30, "width": 40},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
    "annotations": [
        {
            "id": 5,
            "image_id": 7,
            "category_id": 90,
            "bbox": [1, 2, 3, 4],
            "area": 6.0,
            "segmentation": [[1, 2, 4, 2, 4, 6]],
            "iscrowd": 0,
        },
        {
            "id": 6,
            "image_id": 7,
            "category_id": 1,
            "bbox": [0, 0, 20, 10],
            "area": 200,
            "segmentation": {"size": [10, 20], "counts": [0, 200]},
            "iscrowd": 1,
        },
    ],
}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_reads_images_objects_and_categories(tmp_path: Path) -> None:
    dataset = read_coco(write(tmp_path / "a.json", CONTENT))
    assert [image.id for image in dataset.images] == [3, 7]
    assert dataset.category_ids == (1, 90)
    assert dataset.class_names == ("person", "toothbrush")
    assert dataset.labels == {1: 0, 90: 1}
    assert dataset.annotations[3] == ()
    triangle, crowd = dataset.annotations[7]
    assert triangle.bbox == (1.0, 2.0, 3.0, 4.0)
    assert not triangle.iscrowd
    assert crowd.iscrowd
    assert crowd.segmentation == {"size": [10, 20], "counts": [0, 200]}


def test_coco_labels_are_the_ascending_category_ids() -> None:
    dataset = read_coco(PHOTOS)
    assert len(dataset.category_ids) == 80
    assert dataset.labels[90] == 79
    assert dataset.class_names[0] == "person"
    assert sum(map(len, dataset.annotations.values())) == 154
    assert sum(annotation.iscrowd for group in dataset.annotations.values() for annotation in group) == 4


def without(key: str, entry: str) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    del content[key][0][entry]
    return content


def replaced(key: str, **values: Any) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    content[key][0].update(values)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected COCO annotations"),
        ({"images": []}, "no list 'categories'"),
        ({**CONTENT, "annotations": {}}, "no list 'annotations'"),
        (without("images", "file_name"), "image 7 lacks 'file_name'"),
        (without("annotations", "bbox"), "annotation 5 lacks 'bbox'"),
        (without("categories", "name"), "lacks 'name'"),
        (replaced("images", height=0), "size is 0x20"),
        (replaced("images", width="wide"), "image 7: width: expected whole number, found text"),
        (replaced("images", id=3), "image id 3 occurs 2 times"),
        (replaced("categories", id=1), "category id 1 occurs 2 times"),
        (replaced("annotations", image_id=8), "annotation 5 is of image 8, which is not listed"),
        (replaced("annotations", category_id=2), "annotation 5 is of category 2, which is not listed"),
        (replaced("annotations", bbox=[1, 2, 3]), "annotation 5: bbox: expected list of length 4, found 3"),
        (replaced("annotations", segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "odd number of coordinates"),
        (
            replaced("annotations", segmentation="none"),
            "annotation 5: segmentation: expected polygons or run lengths, found 'none'",
        ),
        (replaced("annotations", segmentation={"size": [1, 2]}), "needs 'size' and 'counts'"),
        (replaced("annotations", segmentation=[[1, 2, 4, 2, 4, float("nan")]]), "a number that is not finite"),
        (
            replaced("annotations", segmentation=[[1, 2, 4, 2, 4, None]]),
            r"annotation 5: segmentation\[0\]\[5\]: expected num",
        ),
        (
            replaced("annotations", segmentation=[["1", "2", "4", "2", "4", "6"]]),
            r"segmentation\[0\]\[0\]: expected number, found",
        ),
        (replaced("annotations", segmentation={"size": [20, 10], "counts": [200]}), r"of the size \[20, 10\], its im"),
        ({**CONTENT, "categories": [], "annotations": []}, "its list 'categories' is empty"),
        ({**CONTENT, "images": [7]}, "entry 0 of 'images': expected object, found whole number"),
    ],
)
def test_bad_content_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_coco(write(tmp_path / "bad.json", content))
    assert "bad.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("segmentation", [[], [[]], None, [[1, 2, 3, 4]], {"size": [10, 20], "counts": []}])
def test_objects_of_two_points_are_counted_and_left_out(
    tmp_path: Path, segmentation: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_coco(write(tmp_path / "a.json", replaced("annotations", segmentation=segmentation)))
    assert [annotation.id for annotation in dataset.annotations[7]] == [6]
    assert "a.json: 1 objects without a polygon of at least three points, the first is annotation 5" in (
        capsys.readouterr().err
    )


def test_objects_without_a_segmentation_are_counted_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_coco(write(tmp_path / "a.json", without("annotations", "segmentation")))
    assert [annotation.id for annotation in dataset.annotations[7]] == [6]
    assert capsys.readouterr().err.count("1 objects without") == 1


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"id": 5.0, "image_id": 7.0}, "image_id", 7),
        ({"id": 0}, "id", 0),
        ({"id": 6}, "id", 6),
        ({"iscrowd": True}, "iscrowd", True),
        ({"iscrowd": 1.0}, "iscrowd", True),
        ({"iscrowd": "0"}, "iscrowd", False),
        ({"iscrowd": None}, "iscrowd", False),
        ({"score": float("nan"), "keypoints": [None], "attributes": {"a": [1]}}, "id", 5),
        ({"area": 6}, "area", 6.0),
    ],
)
def test_what_tools_write_is_read(tmp_path: Path, changes: dict[str, Any], field: str, value: Any) -> None:
    first = read_coco(write(tmp_path / "a.json", replaced("annotations", **changes))).annotations[7][0]
    assert getattr(first, field) == value
    assert type(getattr(first, field)) is type(value)


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        ("annotations", {"area": float("inf")}, "annotation 5: its box or area has a number that is not finite"),
        ("annotations", {"bbox": [0, 0, float("nan"), 1]}, "annotation 5: its box or area has a number"),
        ("annotations", {"bbox": [0, 0, 1e200, 1]}, "too large for any image"),
        ("annotations", {"bbox": [0, 0, 10**400, 1]}, "annotation 5: bbox"),
        ("annotations", {"bbox": None}, "annotation 5: bbox: expected list, found null"),
        ("annotations", {"id": float("inf")}, "entry 0 of 'annotations': id"),
        ("annotations", {"id": None}, "entry 0 of 'annotations': id"),
        ("annotations", {"image_id": 10**30}, "annotation 5: image_id"),
        ("annotations", {"category_id": "car"}, "annotation 5: category_id: expected whole number, found text"),
        ("annotations", {"iscrowd": 2}, "annotation 5: iscrowd: expected 0 or 1, found 2"),
        ("images", {"height": float("inf")}, "image 7: height"),
        ("images", {"height": 10**12}, "image 7: its size is"),
        ("images", {"height": -1, "width": -1}, "image 7: its size is -1x-1"),
        ("images", {"file_name": None}, "image 7: file_name: expected text, found null"),
        ("categories", {"name": ["car"]}, "category 90: name"),
    ],
)
def test_numbers_of_no_image_are_named(tmp_path: Path, key: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_coco(write(tmp_path / "a.json", replaced(key, **changes)))


def test_an_object_keeps_its_proper_polygons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proper = [1, 2, 4, 2, 4, 6]
    dataset = read_coco(write(tmp_path / "a.json", replaced("annotations", segmentation=[[1, 2, 3, 4], proper])))
    assert dataset.annotations[7][0].segmentation == [proper]
    assert not capsys.readouterr().err


def test_files_that_are_no_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_coco(tmp_path / "absent.json")
    for data in (b" ", b"\xff\xd8\xff\xe0", b'{"images": ['):
        (tmp_path / "bad.json").write_bytes(data)
        with pytest.raises(UserError, match="not a JSON file"):
            read_coco(tmp_path / "bad.json")
