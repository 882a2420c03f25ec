"""Shapes of labelme become objects as labelme's own exporter makes them; what has no area is counted."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.data.findings import Findings
from refinemask.data.formats.content import Content
from refinemask.data.formats.labelme import read_labelme
from refinemask.data.reading import read_annotations
from refinemask.files import UserError
from tests.support.other_formats import (
    HEIGHT,
    SQUARE,
    TRIANGLE,
    WIDTH,
    base64_mask,
    label_map,
    labelme,
    labelme_file,
    picture,
    shape,
    text,
)

MASK = label_map() == 2


def read(path: Path, images: Path | None = None) -> tuple[Content, list[str]]:
    findings = Findings()
    content = read_labelme(path, images, findings)
    return content, [f"{finding.kind}: {finding.count} {finding.what}" for finding in findings]


def read_shapes(folder: Path, *shapes: Any, **fields: Any) -> tuple[Content, list[str]]:
    """The content of one file of these shapes."""
    picture(folder / "a.jpg")
    return read(labelme_file(folder / "a.json", shapes, **fields))


def polygons(content: Content) -> list[Any]:
    return [entry["segmentation"] for entry in content.annotations]


def names(content: Content) -> list[str]:
    return [content.categories[entry["category_id"]] for entry in content.annotations]


def test_a_folder_keeps_every_point(tmp_path: Path) -> None:
    places = labelme(tmp_path)
    content, findings = read(places.annotations)
    assert [image["file_name"] for image in content.images] == ["a.jpg", "b.jpg"]
    assert polygons(content) == [[SQUARE], [TRIANGLE], [SQUARE]]
    assert names(content) == ["dog", "cat", "cat"]
    assert content.categories == {1: "cat", 2: "dog"}
    assert content.annotations[0]["bbox"] == [3, 4, 8, 8.5]
    assert findings == []


@pytest.mark.parametrize("kind", ["polygon", "rotation", "oriented_rectangle", None])
def test_kinds_of_polygons(tmp_path: Path, kind: str | None) -> None:
    content, findings = read_shapes(tmp_path, shape("cat", SQUARE, kind))
    assert (polygons(content), findings) == ([[SQUARE]], [])


@pytest.mark.parametrize("points", [[3, 4, 11, 12.5], [11, 12.5, 3, 4], [3, 12.5, 11, 4], SQUARE])
def test_a_rectangle_is_an_outline_and_counted(tmp_path: Path, points: list[float]) -> None:
    content, findings = read_shapes(tmp_path, shape("cat", points, "rectangle"))
    assert content.annotations[0]["bbox"] == [3, 4, 8, 8.5]
    assert coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(polygons(content)[0], HEIGHT, WIDTH))) == 72
    assert findings == ["mended: 1 rectangles (taken as the outlines of what they hold)"]


@pytest.mark.parametrize("radius", [0.5, 1.0, 4.0, 9.0])
def test_a_circle_is_near_its_circle(tmp_path: Path, radius: float) -> None:
    content, findings = read_shapes(tmp_path, shape("cat", [15, 10, 15, 10 + radius], "circle"))
    (flat,) = polygons(content)[0:1]
    points = np.reshape(flat[0], (-1, 2))
    middles = (points + np.roll(points, 1, axis=0)) / 2
    assert np.allclose(np.hypot(*(points - [15, 10]).T), radius)
    assert (radius - np.hypot(*(middles - [15, 10]).T) < 1).all()
    assert len(points) >= 12
    assert findings == []


def test_a_mask_keeps_every_pixel(tmp_path: Path) -> None:
    rows, columns = np.nonzero(MASK)
    top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
    inside = MASK[top : bottom + 1, left : right + 1]
    drawn = shape("cat", [float(left), float(top), float(right), float(bottom)], "mask", mask=base64_mask(inside))
    content, findings = read_shapes(tmp_path, drawn)
    np.testing.assert_array_equal(coco_mask.decode(polygons(content)[0]), MASK)
    assert content.annotations[0]["area"] == MASK.sum()
    assert findings == []


def test_a_group_is_one_object(tmp_path: Path) -> None:
    content, findings = read_shapes(
        tmp_path,
        shape("cat", SQUARE, group_id=1),
        shape("dog", TRIANGLE, group_id=1),
        shape("cat", TRIANGLE, group_id=1),
        shape("cat", TRIANGLE, group_id=2),
        shape("cat", SQUARE),
    )
    assert polygons(content) == [[SQUARE, TRIANGLE], [TRIANGLE], [TRIANGLE], [SQUARE]]
    assert names(content) == ["cat", "dog", "cat", "cat"]
    assert findings == []


def test_a_group_with_a_mask_is_their_union(tmp_path: Path) -> None:
    whole = shape("cat", [0, 0, WIDTH - 1, HEIGHT - 1], "mask", mask=base64_mask(MASK), group_id=1)
    content, _ = read_shapes(tmp_path, shape("cat", SQUARE, group_id=1), whole)
    square = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([SQUARE], HEIGHT, WIDTH)))
    np.testing.assert_array_equal(coco_mask.decode(polygons(content)[0]), MASK | square.astype(bool))


@pytest.mark.parametrize(
    ("drawn", "finding"),
    [
        (shape("cat", SQUARE, "linestrip"), "left out: 1 shapes without an area ('linestrip')"),
        (shape("cat", SQUARE[:4], "line"), "left out: 1 shapes without an area ('line')"),
        (shape("cat", SQUARE[:2], "point"), "left out: 1 shapes without an area ('point')"),
        (shape("cat", SQUARE, "new"), "left out: 1 shapes without an area ('new')"),
        (shape("cat", SQUARE[:4]), "left out: 1 polygons of fewer than three points"),
        (shape("cat", SQUARE[:2], "rectangle"), "left out: 1 malformed shapes"),
        (shape("cat", SQUARE, "circle"), "left out: 1 malformed shapes"),
        (shape("cat", [0, 0, 1e308, 1e308], "circle"), "left out: 1 malformed shapes"),
        (shape("cat", [0, 0, 1e7, 0], "circle"), "left out: 1 malformed shapes"),
        (shape("cat", [*SQUARE[:4], 1, math.nan]), "left out: 1 malformed shapes"),
        (shape("cat", ["3", *SQUARE[1:]]), ""),
        ({"label": "cat", "shape_type": "polygon"}, "left out: 1 malformed shapes"),
        ({"points": [[1, 2], [3, 4], [5, 1]]}, "left out: 1 malformed shapes"),
        ({"label": None, "points": [[1, 2], [3, 4], [5, 1]]}, "left out: 1 malformed shapes"),
        ({"label": "cat", "points": [[1, 2, 3], [3, 4, 3], [5, 1, 3]]}, "left out: 1 malformed shapes"),
        ({"label": "cat", "points": 5}, "left out: 1 malformed shapes"),
        (5, "left out: 1 malformed shapes"),
        (shape("cat", [0, 0, 2, 2], "mask"), "left out: 1 malformed shapes"),
        (shape("cat", [0, 0, 2, 2], "mask", mask="!"), "left out: 1 malformed shapes"),
        (shape("cat", [0, 0, 2, 2], "mask", mask="aaaa"), "left out: 1 malformed shapes"),
        (shape("cat", [0, 0, 2, 2], "mask", mask=base64_mask(np.ones((3, 4), bool))), "left out: 1 malformed shapes"),
        (shape("cat", [-1, 0, 1, 2], "mask", mask=base64_mask(np.ones((3, 3), bool))), "left out: 1 malformed shapes"),
        (shape("cat", [28, 0, 30, 2], "mask", mask=base64_mask(np.ones((3, 3), bool))), "left out: 1 malformed shapes"),
        (shape("__ignore__", SQUARE), ""),
        (shape("_background_", SQUARE), ""),
    ],
)
def test_shapes_that_are_no_objects_are_counted(tmp_path: Path, drawn: Any, finding: str) -> None:
    content, findings = read_shapes(tmp_path, drawn, shape("dog", TRIANGLE))
    assert polygons(content)[-1] == [TRIANGLE]
    assert len(content.annotations) == (2 if not finding and drawn["label"] == "cat" else 1)
    assert findings == [finding] * bool(finding)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.jpg", "set/a.jpg"),
        ("..\\images\\a.jpg", "images/a.jpg"),
        ("../images/a.jpg", "images/a.jpg"),
        ("C:\\Users\\x\\a.jpg", "set/a.jpg"),
        ("/home/x/a.jpg", "set/a.jpg"),
        ("", "set/a.png"),
        ("other.jpg", "set/a.jpg"),
        ("../../../../../../etc/a.jpg", "set/a.jpg"),
        ("\x00", "set/a.jpg"),
        ("\ud800.jpg", "set/a.jpg"),
        ("x" * 5000, "set/a.jpg"),
    ],
)
def test_the_picture_is_found(tmp_path: Path, name: str, place: str) -> None:
    picture(tmp_path / place)
    labelme_file(tmp_path / "set" / "a.json", [shape("cat", SQUARE)], imagePath=name)
    content, findings = read(tmp_path / "set")
    assert (content.folder / content.images[0]["file_name"]).samefile(tmp_path / place)
    assert findings == []


def test_pictures_and_annotations_in_folders_of_their_own(tmp_path: Path) -> None:
    for folder in "xy":
        picture(tmp_path / "images" / folder / "a.jpg")
        labelme_file(tmp_path / "json" / folder / "a.json", [shape("cat", SQUARE)])
    content, _ = read(tmp_path / "json", tmp_path / "images")
    assert [image["file_name"] for image in content.images] == ["x/a.jpg", "y/a.jpg"]


def test_a_picture_that_is_missing_keeps_its_name(tmp_path: Path) -> None:
    labelme(tmp_path)
    (tmp_path / "b.jpg").unlink()
    content, _ = read(tmp_path)
    assert [image["file_name"] for image in content.images] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("size", [{"imageHeight": None, "imageWidth": None}, {"imageHeight": 0, "imageWidth": 9}])
def test_a_missing_size_is_that_of_the_upright_picture(tmp_path: Path, size: dict[str, Any]) -> None:
    picture(tmp_path / "a.jpg", HEIGHT, WIDTH, orientation=6)
    content, findings = read(labelme_file(tmp_path / "a.json", [shape("cat", TRIANGLE)], **size))
    assert (content.images[0]["height"], content.images[0]["width"]) == (WIDTH, HEIGHT)
    assert findings == ["mended: 1 files without a size (it is that of the picture)"]


def test_a_list_of_classes_decides_their_order(tmp_path: Path) -> None:
    labelme(tmp_path)
    text(tmp_path / "labels.txt", "__ignore__\n_background_\ndog\nbird\n")
    content, findings = read(tmp_path)
    assert content.categories == {1: "dog", 2: "bird"}
    assert polygons(content) == [[SQUARE]]
    assert [entry["id"] for entry in content.annotations] == [1]
    assert findings == ["left out: 2 objects of a class that the list of classes lacks"]


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"shapes": 5, "imagePath": "a.jpg"}', '{"shapes": []}', "{", "", '{"images": []}']
)
def test_files_that_are_not_labelmes_are_counted(tmp_path: Path, content: str) -> None:
    labelme(tmp_path)
    text(tmp_path / "z.json", content)
    read_content, findings = read(tmp_path)
    assert len(read_content.images) == 2
    assert findings == ["left out: 1 files that are not labelme's"]


def test_embedded_pictures_and_unknown_fields_do_not_matter(tmp_path: Path) -> None:
    content, findings = read_shapes(
        tmp_path, shape("cat", SQUARE, description="x", score=0.5), imageData="AAAA", checked=True
    )
    assert (polygons(content), findings) == ([[SQUARE]], [])


def test_no_picture_at_all_is_named(tmp_path: Path) -> None:
    path = labelme_file(tmp_path / "a.json", [shape("cat", SQUARE)])
    with pytest.raises(UserError, match=r"holds no picture; name the folder of the pictures with --images"):
        read(path)


def test_the_boxes_are_those_that_supervision_reads(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    labelme(tmp_path)
    theirs = supervision.DetectionDataset.from_labelme(str(tmp_path), str(tmp_path))
    content, _ = read(tmp_path)
    assert list(theirs.classes) == list(content.categories.values())
    (boxes,) = (found.xyxy.tolist() for path, _, found in theirs if Path(path).name == "a.jpg")
    ours = [entry["bbox"] for entry in content.annotations if entry["image_id"] == 1]
    assert boxes == [[x, y, x + width, y + height] for x, y, width, height in ours]


def test_the_files_are_json_that_labelme_could_have_written(tmp_path: Path) -> None:
    labelme(tmp_path)
    assert set(json.loads((tmp_path / "a.json").read_text())) >= {"shapes", "imagePath", "imageHeight", "imageData"}


def test_a_folder_with_a_coco_file_says_to_give_the_file(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    text(tmp_path / "_annotations.coco.json", '{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(UserError, match=r"coco\.json: has no 'shapes'; for a COCO file, give the file and not"):
        read_annotations(tmp_path)
