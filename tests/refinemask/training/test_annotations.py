"""Annotations of a training: LVIS or COCO, as the file says, and crowds that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.lvis import LvisDataset
from refinemask.data.reading import read_annotations
from refinemask.files import UserError
from refinemask.training.annotations import format_of, metric_of

LVIS_IMAGE = {"coco_url": "http://images/train2017/1.jpg", "neg_category_ids": [], "not_exhaustive_category_ids": []}


def write(root: Path, image: dict[str, Any], crowds: tuple[int, ...] = (0, 1, 1)) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 8, "width": 8, **image}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": crowd}
            | {"segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
            for i, crowd in enumerate(crowds, start=1)
        ],
        "categories": [{"id": 1, "name": "box", "frequency": "r"}],
    }
    path = root / "a.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("image", "kind"), [({}, "coco"), (LVIS_IMAGE, "lvis")])
def test_the_file_decides_how_it_is_read_and_measured(tmp_path: Path, image: dict[str, Any], kind: str) -> None:
    dataset = read_annotations(write(tmp_path, image), tmp_path)
    assert (format_of(dataset), metric_of(dataset).name) == (kind, kind)
    assert isinstance(dataset, LvisDataset) == (kind == "lvis")
    assert dataset.images[0].file_name == ("train2017/1.jpg" if kind == "lvis" else "1.jpg")
    assert [annotation.iscrowd for annotation in dataset.annotations[1]] == [False, True, True]


def test_crowds_become_objects_and_are_counted(tmp_path: Path) -> None:
    dataset = read_annotations(write(tmp_path, {}), tmp_path, crowd_as_object=True)
    assert [annotation.iscrowd for annotation in dataset.annotations[1]] == [False, False, False]
    [finding] = dataset.findings
    assert str(finding) == "mended: 2 objects marked as crowds (--crowd-as-object), the first is annotation 2"


def test_no_crowd_is_no_finding(tmp_path: Path) -> None:
    assert not read_annotations(write(tmp_path, {}, (0, 0)), tmp_path, crowd_as_object=True).findings


@pytest.mark.parametrize("content", [[], {}, {"images": {}}, {"images": [5]}, {"images": [{"neg_category_ids": 5}]}])
def test_what_is_neither_is_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a\.json"):
        read_annotations(tmp_path / "a.json", tmp_path)
