"""A file that is no COCO file is told by what it looks like, and what to do with it."""

import gc
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.coco import read_coco
from refinemask.data.coco_file import without_garbage_collection
from refinemask.files import UserError

CONVERT = "python -m refinemask.data.convert IN OUT.json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "look like COCO results"),
        ([{"image": "a.jpg", "annotations": [{"label": "x", "coordinates": {}}]}], "Create ML"),
        ([{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}], "Label Studio"),
        ([{"id": 1, "image_id": 1, "category_id": 1}], "the list 'annotations' alone"),
        ([], "holds a JSON list, expected COCO annotations"),
        ([5], "holds a JSON list, expected COCO annotations"),
        (5, "holds a JSON int, expected COCO annotations"),
        ({"version": "5.0.1", "shapes": [], "imagePath": "a.jpg"}, f"labelme.*{CONVERT}"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VGG Image Annotator"),
        ({"a.jpg1234": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator"),
        ({"type": "FeatureCollection", "features": []}, "GeoJSON"),
        ({"size": {"height": 1, "width": 1}, "objects": []}, "Supervisely"),
        ({"foo": 1}, r"no list 'images', expected COCO annotations; found the keys \['foo'\]"),
        ({}, r"found the keys \[\]"),
    ],
)
def test_other_formats_are_told_by_name(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        read_coco(tmp_path / "a.json")
    assert "a.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["data.yaml", "data.YML", "labels.txt"])
def test_files_of_yolo_are_told_by_their_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    with pytest.raises(UserError, match=f"YOLO.*{CONVERT}"):
        read_coco(tmp_path / name)


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_collection_is_as_before(was_on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        with suppress(UserError), without_garbage_collection():
            assert not gc.isenabled()
            raise UserError("whatever")
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()
