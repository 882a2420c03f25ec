"""What is odd about a file as a whole is noted in one line, and nothing is changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.coco import read_coco

SQUARE = [100, 100, 150, 100, 150, 160, 100, 160]


def notes(folder: Path, objects: list[dict[str, Any]], categories: list[dict[str, Any]] | None = None) -> list[str]:
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": [100, 100, 50, 60], "area": 3000, "iscrowd": 0,
         "segmentation": [SQUARE]} | entry
        for number, entry in enumerate(objects, 1)
    ]  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 480, "width": 640}],
        "categories": categories or [{"id": 1, "name": "cell"}],
        "annotations": annotations,
    }
    (folder / "a.json").write_text(json.dumps(content))
    dataset = read_coco(folder / "a.json")
    assert len(dataset.annotations[1]) == len(objects)
    assert {finding.kind for finding in dataset.findings} <= {"note"}
    return [str(finding) for finding in dataset.findings]


def test_ordinary_objects_give_no_note(tmp_path: Path) -> None:
    assert notes(tmp_path, [{}, {}]) == []
    assert notes(tmp_path, []) == []


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        ({"iscrowd": 1}, "of 3 objects are marked as crowds (iscrowd 1), as CVAT marks every brush mask"),
        ({"area": 0}, "of 3 objects have area 0, though not their boxes: training leaves them out; remove 'area'"),
        ({"bbox": [100, 100, 150, 160]}, "of 3 boxes that were compared are not where their masks are"),
        (
            {"segmentation": [[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]], "bbox": [0.1, 0.1, 0.4, 0.8], "area": 0.2},
            "of 3 polygons lie within the first pixel of their image",
        ),
    ],
)
def test_what_most_objects_have_is_noted(tmp_path: Path, odd: dict[str, Any], note: str) -> None:
    assert notes(tmp_path, [{}, {}, odd]) == []
    (found,) = notes(tmp_path, [{}, odd, odd])
    assert found.startswith(f"note: 2 {note}")
    assert found.endswith("the first is annotation 2")
    assert "\n" not in found


def test_the_hint_at_crowds_names_the_option(tmp_path: Path) -> None:
    assert "--crowd-as-object" in notes(tmp_path, [{"iscrowd": 1}])[0]


def test_repeated_annotation_ids_are_noted(tmp_path: Path) -> None:
    assert notes(tmp_path, [{"id": 4}, {"id": 5}, {"id": 4}]) == [
        "note: 1 annotation ids that several objects have (all are kept), the first is 4"
    ]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ([{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "a", "supercategory": "cells"}], 1),
        ([{"id": 0, "name": "background"}, {"id": 1, "name": "a"}], 1),
        ([{"id": 0, "name": "_background_"}, {"id": 1, "name": "a"}], 1),
        ([{"id": 1, "name": "background"}], 0),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "never seen"}, {"id": 9, "name": "nor this"}], 0),
        ([{"id": 0, "name": "a", "supercategory": "none"}, {"id": 1, "name": "b", "supercategory": "none"}], 0),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], 1),
    ],
)
def test_classes_that_are_probably_none_are_noted(
    tmp_path: Path, categories: list[dict[str, Any]], expected: int
) -> None:
    found = notes(tmp_path, [{}], categories)
    assert len(found) == expected
    assert all("each stays a class" in note for note in found)


def test_boxes_of_run_lengths_are_compared_with_their_masks(tmp_path: Path) -> None:
    mask = {"size": [480, 640], "counts": [50 * 480 + 40, *[30, 450] * 19, 30, 274_010]}
    right = {"segmentation": mask, "bbox": [50, 40, 20, 30], "area": 600}
    corners = {**right, "bbox": [50, 40, 70, 70]}
    assert notes(tmp_path, [right, right, corners]) == []
    (found,) = notes(tmp_path, [right, corners, corners])
    assert found.startswith("note: 2 of 3 boxes that were compared are not where their masks are; expected [x, y, w")
