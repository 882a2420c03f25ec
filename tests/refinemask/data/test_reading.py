"""What a path holds is recognised, and one reader gives the same kind of data set for all formats."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from refinemask.data.annotated import is_there, read_annotated
from refinemask.data.coco import read_coco
from refinemask.data.lvis import LvisDataset
from refinemask.data.reading import EXPECTED, read_annotations, split_path
from refinemask.files import UserError
from refinemask.masks import segmentation_rle
from tests.support.other_formats import (
    FORMATS,
    SQUARE,
    labelme,
    labelme_file,
    picture,
    shape,
    text,
    voc,
    yolo,
    yolo_line,
)
from tests.support.small_annotations import CONTENT

SPLIT = {"yolo": ":train"}
"""What must stand behind the path of a format."""


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_recognised_and_its_pictures_are_found(
    tmp_path: Path, name: str, given: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    places = FORMATS[name](tmp_path / "set")
    path = f"{places.annotations}{SPLIT.get(name, '')}"
    dataset = read_annotations(path, places.images if given else None)
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"{path}: read as ")
    folder = places.images if given else Path(said.rpartition(" in ")[2])
    assert len(dataset.images) == 2
    assert all(is_there(folder, image) for image in dataset.images)
    assert [read_annotated(folder, image).shape[0] for image in dataset.images] == [20, 20]
    assert sum(map(len, dataset.annotations.values())) > 1
    assert dataset.findings == ()
    for image in dataset.images:
        for annotation in dataset.annotations[image.id]:
            rle = segmentation_rle(annotation.segmentation, image.height, image.width)
            assert annotation.area == coco_mask.area(rle) > 0


def test_a_coco_file_is_read_as_it_always_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(json.dumps(CONTENT))
    for image in content["images"]:
        del image["neg_category_ids"]
    path = text(tmp_path / "a.json", json.dumps(content))
    assert read_annotations(path) == read_coco(path)
    assert capsys.readouterr() == ("", "")


def test_an_lvis_file_is_one(tmp_path: Path) -> None:
    dataset = read_annotations(text(tmp_path / "a.json", json.dumps(CONTENT)))
    assert isinstance(dataset, LvisDataset)
    assert dataset.frequencies == {1: "f", 2: "r"}


def test_one_file_of_labelme(tmp_path: Path) -> None:
    places = labelme(tmp_path)
    dataset = read_annotations(places.annotations / "b.json")
    assert [image.file_name for image in dataset.images] == ["b.jpg"]
    assert dataset.annotations[1][0].segmentation == [SQUARE]


@pytest.mark.parametrize("place", ["data.yaml:val", ":val", "labels:val", "labels/val"])
def test_places_that_mean_a_split_of_yolo(tmp_path: Path, place: str) -> None:
    root = yolo(tmp_path / "set").annotations.parent
    dataset = read_annotations(f"{root}{place}" if place.startswith(":") else f"{root}/{place}")
    assert [image.file_name for image in dataset.images] == ["c.jpg"]


def test_a_split_of_voc(tmp_path: Path) -> None:
    root = voc(tmp_path / "VOC2012").annotations
    assert [image.file_name for image in read_annotations(f"{root}:val").images] == ["a.jpg"]
    assert len(read_annotations(root).images) == 2


def test_notes_beside_annotations_do_not_matter(tmp_path: Path) -> None:
    for name in ("labelme", "instance masks"):
        places = FORMATS[name](tmp_path / name)
        text(places.annotations / "README.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2")
        assert len(read_annotations(places.annotations).images) == 2


def test_labels_without_a_folder_of_their_name(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    text(tmp_path / "txt" / "a.txt", yolo_line(0, SQUARE))
    text(tmp_path / "txt" / "classes.txt", "cat\n")
    dataset = read_annotations(tmp_path / "txt", tmp_path / "images")
    assert dataset.class_names == ("cat",)
    assert [len(group) for group in dataset.annotations.values()] == [1]


@pytest.mark.parametrize(
    ("name", "path", "split"),
    [
        ("data.yaml", "data.yaml:val", "val"),
        ("data.yaml", "data.yaml", None),
        ("a:b", "a:b", None),
        ("a:b", "a:b:c", "c"),
        ("a", "gone:val", None),
        ("a", "a:", None),
    ],
)
def test_a_split_stands_behind_the_colon_of_a_path_that_exists(
    tmp_path: Path, name: str, path: str, split: str | None
) -> None:
    text(tmp_path / name, "")
    expected = path if split is None else path.removesuffix(f":{split}")
    assert split_path(tmp_path / path) == (tmp_path / expected, split)


def test_what_is_nothing_known_is_told_what_is(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_annotations(tmp_path / "gone")
    assert str(error.value) == f"{tmp_path / 'gone'}: no such file or folder, expected {EXPECTED}"
    text(tmp_path / "notes.md", "x")
    with pytest.raises(UserError, match="nothing in the folder is known; expected a JSON file of COCO"):
        read_annotations(tmp_path)
    with pytest.raises(UserError, match="not a JSON file"):
        read_annotations(tmp_path / "notes.md")


def test_a_split_of_what_has_none_is_named(tmp_path: Path) -> None:
    places = labelme(tmp_path)
    for path in (places.annotations, places.annotations / "a.json"):
        with pytest.raises(UserError, match="which only data sets of YOLO and Pascal VOC have"):
            read_annotations(f"{path}:val")


def test_nothing_that_can_be_used_names_the_first_reason(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", 5, 5)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((3, 3), np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(UserError, match=r"read as instance masks, but has no picture with annotations; left out: 1 ma"):
        read_annotations(tmp_path / "masks")
    labelme(tmp_path / "set")
    for stem in "ab":
        (tmp_path / "set" / f"{stem}.json").write_text(
            '{"shapes": [], "imagePath": "", "imageHeight": 9, "imageWidth": 9}'
        )
    with pytest.raises(UserError, match="read as labelme shapes, but has no object, so it has no class"):
        read_annotations(tmp_path / "set")


def test_the_class_of_masks_is_named_by_the_user(tmp_path: Path) -> None:
    places = FORMATS["instance masks"](tmp_path)
    assert read_annotations(places.annotations).class_names == ("object",)
    assert read_annotations(places.annotations, class_name="nucleus").class_names == ("nucleus",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    for path in (tmp_path / "a.json", Path(os.devnull)):
        with pytest.raises(UserError, match=f"{path}: is no regular file"):
            read_annotations(path)


BOX = "0 0.5 0.5 0.2 0.2"


@pytest.mark.parametrize("line", [BOX, "0 0.1 0.2", "7 0.1 0.1 0.5 0.1 0.5 0.5", "0 a b", "0 5 5 90 5 90 90"])
def test_an_image_whose_objects_a_reader_left_out_is_no_background(tmp_path: Path, line: str) -> None:
    places = yolo(tmp_path / "set")
    empty = read_annotations(f"{places.annotations}:train")
    assert empty.annotations[2] == ()
    assert empty.incomplete == set()
    text(tmp_path / "set/labels/train/b.txt", line)
    assert read_annotations(f"{places.annotations}:train").incomplete == {2}


@pytest.mark.parametrize(
    "shapes",
    [
        [shape("cat", [1, 2], "point")],
        [shape("cat", [1, 2, 3])],
        [shape("cat", SQUARE[:4])],
        [{"label": "cat"}],
        [shape("bird", SQUARE)],
    ],
    ids=["no area", "odd", "two points", "malformed", "a class that is not listed"],
)
def test_an_image_whose_shapes_a_reader_left_out_is_no_background(tmp_path: Path, shapes: list[dict[str, Any]]) -> None:
    places = labelme(tmp_path / "set")
    text(tmp_path / "set/labels.txt", "cat\ndog\n")
    assert read_annotations(places.annotations).incomplete == set()
    labelme_file(tmp_path / "set/b.json", shapes)
    dataset = read_annotations(places.annotations)
    assert (dataset.annotations[2], dataset.incomplete) == ((), {2})
