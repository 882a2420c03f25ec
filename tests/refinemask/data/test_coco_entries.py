"""Images have names and sizes, whatever field or file says them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from refinemask.data.coco import CocoDataset, read_coco
from refinemask.data.coco_entries import Ids, whole_number

TRIANGLE = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 6, "iscrowd": 0,
            "segmentation": [[1, 2, 4, 2, 4, 6]]}  # fmt: skip
ENTRY: dict[str, Any] = {"id": 7, "file_name": "a.jpg", "height": 10, "width": 20}


def read(folder: Path, entry: dict[str, Any], images: Path | None = None) -> CocoDataset:
    other = {"id": 8, "file_name": "b.jpg", "height": 5, "width": 6}
    content = {"images": [entry, other], "categories": [{"id": 1, "name": "x"}], "annotations": [TRIANGLE]}
    (folder / "a.json").write_text(json.dumps(content))
    return read_coco(folder / "a.json", images)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with ``a.jpg``, which is stored as 20x10 and shown as 10x20 (height x width)."""
    (tmp_path / "pictures").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 20)).save(tmp_path / "pictures" / "a.jpg", exif=exif)
    return tmp_path / "pictures"


NO_SIZES = [
    {"height": None, "width": None}, {"height": 0, "width": 0}, {"height": -1, "width": -1}, {"width": "wide"},
    {"height": 10.5}, {"height": float("inf")}, {"height": 10**12}, {"height": 1 << 28}, {"height": [10]},
]  # fmt: skip


@pytest.mark.parametrize("changes", NO_SIZES)
def test_sizes_are_those_of_the_picture_as_it_is_shown(tmp_path: Path, pictures: Path, changes: Any) -> None:
    dataset = read(tmp_path, ENTRY | changes, pictures)
    assert (dataset.images[0].height, dataset.images[0].width) == (10, 20)
    assert [(f.kind, f.count, f.what) for f in dataset.findings] == [
        ("mended", 1, "images without a size (it is that of the file)")
    ]
    assert len(dataset.annotations[7]) == 1


@pytest.mark.parametrize("changes", NO_SIZES)
def test_without_the_folder_images_of_no_size_are_left_out(tmp_path: Path, changes: Any) -> None:
    dataset = read(tmp_path, ENTRY | changes)
    assert [image.id for image in dataset.images] == [8]
    assert "give the folder of the images" in str(dataset.findings[0])
    assert "image 7 (height" in dataset.findings[0].first
    assert dataset.findings[1].what == "objects of an image that is not listed, or left out"


def test_sizes_may_be_missing(tmp_path: Path, pictures: Path) -> None:
    entry = copy.deepcopy(ENTRY)
    del entry["height"], entry["width"]
    assert read(tmp_path, entry, pictures).images[0].width == 20


def test_a_file_that_does_not_tell_its_size_is_named(tmp_path: Path, pictures: Path) -> None:
    (pictures / "broken.jpg").write_bytes(b"no picture")
    for name, reason in (("absent.jpg", "no such file"), ("broken.jpg", "broken.jpg: cannot be read"), ("..", "below")):
        dataset = read(tmp_path, {"id": 7, "file_name": name}, pictures)
        assert [image.id for image in dataset.images] == [8]
        assert dataset.findings[0].what == "images without a size whose file does not tell it"
        assert reason in dataset.findings[0].first


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("coco_url", "http://images.example/val2017/a%20b.jpg", "a%20b.jpg"),
        ("flickr_url", "http://flickr.example/4/a.jpg?size=l", "a.jpg"),
        ("url", "http://[a", "http://[a"),
        ("path", "sub/a.jpg", "sub/a.jpg"),
        ("filename", "a.jpg", "a.jpg"),
    ],
)
@pytest.mark.parametrize("own", [{}, {"file_name": None}, {"file_name": ""}, {"file_name": 5}])
def test_names_are_taken_from_other_fields(tmp_path: Path, field: str, value: str, name: str, own: Any) -> None:
    dataset = read(tmp_path, {"id": 7, "height": 10, "width": 20, field: value} | own)
    assert dataset.images[0].file_name == name
    assert [(f.kind, f.what) for f in dataset.findings] == [
        ("mended", f"images without a file_name (taken from {field})")
    ]


def test_images_without_any_name_are_left_out(tmp_path: Path) -> None:
    dataset = read(tmp_path, {"id": 7, "height": 10, "width": 20})
    assert [image.id for image in dataset.images] == [8]
    assert dataset.findings[0].what == "images without a file_name"


def test_images_without_an_id_are_left_out(tmp_path: Path) -> None:
    for entry in ({**ENTRY, "id": None}, {**ENTRY, "id": [7]}, {"file_name": "a.jpg", "height": 1, "width": 1}):
        assert [image.id for image in read(tmp_path, entry).images] == [8]


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), (5.0, 5), ("5", 5), ("-5", -5), ("0", 0), (0, 0), ("05", None), ("-0", None), ("", None), ("x", None),
     ("٣", None), (1.5, None), (float("nan"), None), (float("inf"), None), (True, None), (None, None), ([], None),
     (2**63 - 1, 2**63 - 1), (2**63, None), (str(2**63), None), ("9" * 5000, None)],
)  # fmt: skip
def test_whole_numbers(value: Any, number: int | None) -> None:
    assert whole_number(value) == number


def test_new_numbers_are_the_smallest_that_no_entry_has() -> None:
    ids = Ids([{"id": 2}, {"id": "3"}, {"id": "x"}, {"id": "y"}, 7, {}])
    assert [ids.new("x"), ids.new("y"), ids.new("x"), ids.free()] == [1, 4, 1, 5]
    references: list[Any] = ["x", "y", "z", 9, "9", None, []]
    assert [ids.find(reference) for reference in references] == [1, 4, None, 9, 9, None, None]


@pytest.mark.parametrize("name", ["", " ", "\n", None])
def test_a_category_without_a_name_is_called_by_its_id(tmp_path: Path, name: str | None) -> None:
    content = {"images": [ENTRY], "categories": [{"id": 4, "name": name}], "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = read_coco(tmp_path / "a.json")
    assert dataset.categories == {4: "4"}
    assert [str(finding) for finding in dataset.findings] == [
        "mended: 1 categories without a name (it is the id), the first is category 4"
    ]
