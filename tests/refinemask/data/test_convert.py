"""The converter writes what was read, says what it was, and overwrites nothing that it reads."""

import json
import re
from pathlib import Path

import pytest

from refinemask.data.coco import CocoDataset, read_coco
from refinemask.data.coco_text import dataset_text
from refinemask.data.convert import Args, main
from refinemask.data.reading import read_annotations
from tests.support.other_formats import FORMATS, labelme, text, yolo
from tests.support.small_annotations import CONTENT

SPLIT = {"yolo": ":train"}


def assert_same(found: CocoDataset, expected: CocoDataset) -> None:
    """Both have the same images, objects and classes."""
    assert found.images == expected.images
    assert found.categories == expected.categories
    assert dataset_text(found) == dataset_text(expected)


@pytest.mark.parametrize("name", FORMATS)
def test_a_converted_file_is_read_as_its_source(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    places, output = FORMATS[name](tmp_path / "set"), tmp_path / "out" / "a.json"
    source = f"{places.annotations}{SPLIT.get(name, '')}"
    assert main(Args(source, output)) == 0
    said = capsys.readouterr()
    assert f"{source}: read as " in said.err
    assert f"{output}: 2 images, " in said.out
    assert "file names begin from " in said.out
    expected = read_annotations(source)
    assert sum(map(len, expected.annotations.values())) > 1
    assert_same(read_coco(output), expected)


def test_findings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = yolo(tmp_path / "set")
    text(tmp_path / "set" / "labels" / "train" / "b.txt", "0 0.5 0.5 0.1 0.1")
    assert main(Args(f"{places.annotations}:train", tmp_path / "a.json")) == 0
    said = capsys.readouterr()
    assert ": left out: 1 boxes without an outline, the first is " in said.err
    assert said.out.endswith("a.json: in 1 images every object was left out: they are no background to train on\n")


def test_a_coco_file_is_written_as_it_was_understood(tmp_path: Path) -> None:
    content = json.loads(json.dumps(CONTENT))
    for image in content["images"]:
        del image["neg_category_ids"]
    source = text(tmp_path / "a.json", json.dumps(content))
    assert main(Args(str(source), tmp_path / "b.json")) == 0
    assert_same(read_coco(tmp_path / "b.json"), read_coco(source))


@pytest.mark.parametrize("crowd_as_object", [True, False])
def test_crowds_become_objects_on_request(tmp_path: Path, crowd_as_object: bool) -> None:
    content = json.loads(json.dumps(CONTENT))
    for image in content["images"]:
        del image["neg_category_ids"]
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1
    source = text(tmp_path / "a.json", json.dumps(content))
    assert main(Args(str(source), tmp_path / "b.json", crowd_as_object=crowd_as_object)) == 0
    written = json.loads((tmp_path / "b.json").read_text())["annotations"]
    assert len(written) == len(content["annotations"])
    assert {entry["iscrowd"] for entry in written} == {int(not crowd_as_object)}


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("set/a.json", "set/a.json", "is read by this very command"),
        ("set", "set/new.json", "lies in .*set, whose files are read"),
        ("set", "set/b.json", "lies in .*set, whose files are read"),
        ("set", "link/new.json", "lies in .*set, whose files are read"),
        ("set", "out.txt", "expected the name of a file that ends in .json"),
        ("set", "set", "is a directory"),
        ("lvis.json", "out.json", "is an LVIS file"),
        ("gone", "out.json", "gone: no such file or folder, expected a JSON file"),
    ],
)
def test_what_would_do_harm_is_refused(
    tmp_path: Path, source: str, output: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labelme(tmp_path / "set")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    text(tmp_path / "lvis.json", json.dumps(CONTENT))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(Args(str(tmp_path / source), tmp_path / output)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("source", ["set", "set/a.json"])
def test_the_folder_of_file_names_is_said(tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    labelme(tmp_path / "set")
    assert main(Args(str(tmp_path / source), tmp_path / "out.json")) == 0
    assert capsys.readouterr().out.endswith(f"; file names begin from {tmp_path / 'set'}\n")


@pytest.mark.parametrize(("ids", "written"), [((7, 7, 9), [1, 2, 3]), ((7, 8, 9), [7, 8, 9])])
def test_ids_that_objects_share_are_numbered_anew(tmp_path: Path, ids: tuple[int, ...], written: list[int]) -> None:
    entry = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [0, 0, 4, 4],
        "area": 16,
        "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]],
    }
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 9, "width": 9}],
        "annotations": [{"id": number, **entry} for number in ids],
        "categories": [{"id": 1, "name": "x"}],
    }
    source = text(tmp_path / "a.json", json.dumps(content))
    assert main(Args(str(source), tmp_path / "b.json")) == 0
    assert [entry["id"] for entry in json.loads((tmp_path / "b.json").read_text())["annotations"]] == written
