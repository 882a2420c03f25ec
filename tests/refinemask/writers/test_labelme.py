"""Files of labelme that our reader reads, and that never replace what somebody drew."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from refinemask.data.reading import read_with_folder
from refinemask.files import UserError
from refinemask.masks import decode, segmentation_rle
from refinemask.writers.coco_polygons import CocoPolygons
from refinemask.writers.labelme import Labelme
from tests.support.other_formats import picture
from tests.support.written import HEIGHT, PIXELS, WIDTH, boxes_of, clip, frame, prediction, put, still

FOUND = prediction(boxes_of((2, 2, 12, 12), (14, 3, 20, 18)), labels=[1, 0])


def two_parts() -> NDArray[np.bool_]:
    return boxes_of((2, 2, 12, 12), (14, 3, 20, 18)).max(axis=0, keepdims=True)


@pytest.mark.parametrize("folder", ["in", "out"])
def test_the_reader_finds_objects_and_pictures_again(tmp_path: Path, folder: str) -> None:
    images = [picture(tmp_path / "in" / name, HEIGHT, WIDTH) for name in ("a.jpg", "street/b.jpg")]
    with Labelme(tmp_path / folder) as writer:
        put(writer, still(images[0], "a"), FOUND)
        put(writer, still(images[1], "street/b"), prediction(two_parts()))
    dataset, found = read_with_folder(tmp_path / folder)
    assert found == tmp_path / "in"
    assert [image.file_name for image in dataset.images] == ["a.jpg", "street/b.jpg"]
    assert dataset.findings == ()
    objects = [each for group in dataset.annotations.values() for each in group]
    assert [dataset.categories[each.category_id] for each in objects] == ["dog", "cat", "cat"]
    again = decode([segmentation_rle(each.segmentation, HEIGHT, WIDTH) for each in objects], HEIGHT, WIDTH)
    np.testing.assert_array_equal(again, [*FOUND.masks(), *two_parts()])


def test_fields(tmp_path: Path) -> None:
    with Labelme(tmp_path / "out") as writer:
        put(writer, still(tmp_path / "in" / "a.jpg"), prediction(two_parts()))
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    shapes = content.pop("shapes")
    assert len(content.pop("refinemask_sha256")) == 64
    assert content == {
        "version": "5.5.0", "flags": {}, "imagePath": "../in/a.jpg", "imageData": None, "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }  # fmt: skip
    assert [shape["group_id"] for shape in shapes] == [1, 1]
    assert shapes[0].pop("score") == pytest.approx(0.9)
    assert shapes[0] == {
        "label": "cat", "points": [[2, 2], [12, 2], [12, 12], [2, 12]], "group_id": 1, "description": "",
        "shape_type": "polygon", "flags": {},
    }  # fmt: skip


def test_a_tolerance_is_checked_before_any_image(tmp_path: Path) -> None:
    for writer in (Labelme, CocoPolygons):
        with pytest.raises(UserError, match=r"tolerance is -1\.0, expected pixels, 0 or more"):
            writer(tmp_path / "out", -1.0)


def test_a_frame_gets_a_picture_of_its_own(tmp_path: Path) -> None:
    with Labelme(tmp_path) as writer:
        put(writer, frame(clip(), 3), FOUND, PIXELS)
    assert json.loads((tmp_path / "clip" / "000003.json").read_text())["imagePath"] == "000003.png"
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "clip" / "000003.png")), PIXELS)
    assert len(read_with_folder(tmp_path)[0].annotations[1]) == 2


def test_a_file_that_nobody_changed_is_replaced(tmp_path: Path) -> None:
    item = still(tmp_path / "a.jpg")
    with Labelme(tmp_path) as writer:
        put(writer, item, FOUND)
        put(writer, item, prediction(boxes_of()))
    assert json.loads((tmp_path / "a.json").read_text())["shapes"] == []


@pytest.mark.parametrize("change", ["a shape fewer", "another program", "no JSON", "a list"])
def test_what_somebody_annotated_is_never_replaced(tmp_path: Path, change: str) -> None:
    item, path = still(tmp_path / "a.jpg"), tmp_path / "a.json"
    with Labelme(tmp_path) as writer:
        put(writer, item, FOUND)
        content = json.loads(path.read_text())
        if change == "a shape fewer":
            content["shapes"].pop()
        elif change == "another program":
            del content["refinemask_sha256"]
        path.write_text("{" if change == "no JSON" else json.dumps([] if change == "a list" else content))
        before = path.read_bytes()
        with pytest.raises(UserError, match=r"a\.json: was annotated or changed and is not replaced"):
            put(writer, item, prediction(boxes_of()))
    assert path.read_bytes() == before
