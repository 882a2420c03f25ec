"""What can be computed is computed and counted, what cannot is left out and counted, and valid files say nothing."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from refinemask.data.coco import CocoDataset, read_coco
from refinemask.files import UserError

DEMO = Path(__file__).resolve().parents[3] / "demo"
PHOTOS, NUCLEI = (DEMO / name / "annotations" / "instances_val.json" for name in ("photos", "nuclei"))
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
        ({**CONTENT, "images": None}, "no list 'images'"),
        ({**CONTENT, "categories": [], "annotations": []}, "its list 'categories' is empty"),
        ({**CONTENT, "images": [7]}, "'images' has no entry that can be used; left out: 1 images without an id"),
        (
            {**CONTENT, "images": [{"id": 7, "file_name": "a.jpg"}]},
            r"give the folder of the images.*image 7 \(height No",
        ),
        ({**CONTENT, "categories": [{}]}, "'categories' has no entry that can be used; left out: 1 categories without"),
    ],
)
def test_what_makes_the_whole_file_meaningless_stops_it(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_coco(write(tmp_path / "bad.json", content))
    assert "bad.json" in str(error.value)
    assert "\n" not in str(error.value)


def read_with_findings(path: Path, content: Any, capsys: pytest.CaptureFixture[str], **options: Any) -> CocoDataset:
    """The data set; each finding is printed once, and nothing else is."""
    dataset = read_coco(write(path / "a.json", content), **options)
    assert capsys.readouterr().err.splitlines() == [f"{path / 'a.json'}: {finding}" for finding in dataset.findings]
    return dataset


def kinds(dataset: CocoDataset) -> list[tuple[str, int, str]]:
    """What was mended and left out; notes are tested elsewhere."""
    return [(f.kind, f.count, f.what) for f in dataset.findings if f.kind != "note"]


def test_valid_files_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for path in (PHOTOS, NUCLEI):
        assert read_coco(path).findings == ()
    assert not capsys.readouterr().err


def test_entries_are_the_same_whether_the_file_is_read_at_once_or_one_by_one(tmp_path: Path) -> None:
    content = json.loads(PHOTOS.read_text())
    content["annotations"].append({**content["annotations"][-1], "id": "text"})
    whole, single = read_coco(PHOTOS), read_coco(write(tmp_path / "a.json", content))
    assert (whole.images, whole.categories) == (single.images, single.categories)
    last = content["annotations"][-1]["image_id"]
    for image in whole.images:
        assert whole.annotations[image.id] == single.annotations[image.id][: -1 if image.id == last else None]
    assert single.findings != ()


NO_BOX = "objects without a box of four finite numbers (it is that of the mask)"
NO_AREA = "objects without an area (it is that of the mask)"
NO_ID = "objects without an id that is a whole number (numbered anew)"
AS_TEXT = "objects with a number that is written as text"
INFINITE = float("inf")


@pytest.mark.parametrize(
    ("changes", "whats"),
    [
        ({"bbox": None}, [NO_BOX]),
        ({"bbox": [1, 2, 3]}, [NO_BOX]),
        ({"bbox": [0, 0, float("nan"), 1]}, [NO_BOX]),
        ({"bbox": [0, 0, 1e200, 1]}, [NO_BOX]),
        ({"bbox": [0, 0, 10**400, 1]}, [NO_BOX]),
        ({"bbox": [4, 6, -3, -4]}, [NO_BOX]),
        ({"bbox": {"x": 1}}, [NO_BOX]),
        ({"bbox": ["1", "2", "3", "4"]}, [AS_TEXT]),
        ({"area": None}, [NO_AREA]),
        ({"area": INFINITE}, [NO_AREA]),
        ({"area": float("nan")}, [NO_AREA]),
        ({"area": 10**400}, [NO_AREA]),
        ({"area": -6}, [NO_AREA]),
        ({"area": "large"}, [NO_AREA]),
        ({"area": "6.0"}, [AS_TEXT]),
        ({"bbox": None, "area": None}, [NO_BOX, NO_AREA]),
        ({"id": None}, [NO_ID]),
        ({"id": INFINITE}, [NO_ID]),
        ({"id": 10**30}, [NO_ID]),
        ({"id": 1.5}, [NO_ID]),
        ({"id": "4f6c-a"}, [NO_ID]),
        ({"id": ""}, [NO_ID]),
        ({"id": [5]}, [NO_ID]),
        ({"id": "5"}, [AS_TEXT]),
        ({"image_id": "7"}, ["objects that name their image or category by text"]),
        ({"category_id": "90"}, ["objects that name their image or category by text"]),
        ({"category_id": "toothbrush"}, ["objects that name their image or category by text"]),
        ({"iscrowd": None}, []),
        ({"iscrowd": "no"}, ["objects whose iscrowd is neither 0 nor 1 (taken as 0)"]),
        ({"iscrowd": []}, ["objects whose iscrowd is neither 0 nor 1 (taken as 0)"]),
        ({"iscrowd": "0"}, [AS_TEXT]),
        ({"segmentation": [1, 2, 4, 2, 4, 6]}, ["objects whose polygon is not in a list of polygons"]),
        (
            {"segmentation": [[[1, 2], [4, 2], [4, 6]]]},
            ["objects whose polygons are lists of points (joined to [x0, y0, x1, y1, …])"],
        ),
    ],
)
def test_what_follows_from_the_rest_is_computed(
    tmp_path: Path, changes: dict[str, Any], whats: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_with_findings(tmp_path, replaced("annotations", **changes), capsys)
    assert kinds(dataset) == [("mended", 1, what) for what in whats]
    first = dataset.annotations[7][0]
    assert (first.bbox, first.area, first.iscrowd, first.category_id) == ((1, 2, 3, 4), 6, False, 90)
    assert first.segmentation == [[1, 2, 4, 2, 4, 6]]
    assert first.id == (1 if NO_ID in whats else 5)


@pytest.mark.parametrize("key", ["bbox", "area", "iscrowd", "id"])
def test_fields_may_be_missing(tmp_path: Path, key: str) -> None:
    content = copy.deepcopy(CONTENT)
    for entry in content["annotations"]:
        del entry[key]
    dataset = read_coco(write(tmp_path / "a.json", content))
    first, second = dataset.annotations[7]
    assert (first.bbox, first.area, first.iscrowd) == ((1, 2, 3, 4), 6, False)
    assert (second.bbox, second.area) == ((0, 0, 20, 10), 200)
    assert [count for _, count, _ in kinds(dataset)] == [2] * (key != "iscrowd")
    if key == "id":
        assert (first.id, second.id) == (1, 2)


@pytest.mark.parametrize("height", [0, 4])
def test_an_area_of_0_is_kept(tmp_path: Path, height: int) -> None:
    content = replaced("annotations", bbox=[1, 2, 3, height], area=0)
    dataset = read_coco(write(tmp_path / "a.json", content))
    assert dataset.annotations[7][0].area == 0
    assert kinds(dataset) == []


def test_crowds_are_objects_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = copy.deepcopy(CONTENT)
    content["annotations"][0]["iscrowd"] = 1
    assert [a.iscrowd for a in read_coco(write(tmp_path / "a.json", content)).annotations[7]] == [True, True]
    assert "2 of 2 objects are marked as crowds" in capsys.readouterr().err
    dataset = read_with_findings(tmp_path, content, capsys, crowd_as_object=True)
    assert [a.iscrowd for a in dataset.annotations[7]] == [False, False]
    [finding] = dataset.findings
    assert str(finding) == "mended: 2 objects marked as crowds (--crowd-as-object), the first is annotation 5"


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_iscrowd_of_another_number_is_a_crowd_as_in_pycocotools(tmp_path: Path, value: float) -> None:
    dataset = read_coco(write(tmp_path / "a.json", replaced("annotations", iscrowd=value)))
    assert dataset.annotations[7][0].iscrowd
    assert kinds(dataset) == [("mended", 1, "objects whose iscrowd is neither 0 nor 1 (taken as 1)")]


NO_MASK = "objects without a polygon of at least three points, and without run lengths"


@pytest.mark.parametrize(
    ("changes", "what", "first"),
    [
        ({"image_id": 8}, "objects of an image that is not listed, or left out", "annotation 5 (of image 8)"),
        ({"category_id": 2}, "objects of a category that is not listed, or left out", "annotation 5 (of category 2)"),
        ({"image_id": None}, "objects whose image_id names none of the file's", "annotation 5 (None)"),
        ({"image_id": 10**30}, "objects whose image_id names none of the file's", f"annotation 5 ({10**30})"),
        ({"image_id": "x"}, "objects whose image_id names none of the file's", "annotation 5 ('x')"),
        ({"category_id": "car"}, "objects whose category_id names none of the file's", "annotation 5 ('car')"),
        ({"category_id": []}, "objects whose category_id names none of the file's", "annotation 5 ([])"),
        ({"segmentation": None}, NO_MASK, "annotation 5"),
        ({"segmentation": []}, NO_MASK, "annotation 5"),
        ({"segmentation": [[]]}, NO_MASK, "annotation 5"),
        ({"segmentation": [[1, 2, 3, 4]]}, NO_MASK, "annotation 5"),
        ({"segmentation": {"size": [10, 20], "counts": []}}, NO_MASK, "annotation 5"),
        (
            {"segmentation": "none"},
            "objects whose segmentation cannot be read",
            "annotation 5 (segmentation: expected polygons or run lengths, found 'none')",
        ),
    ],
)
def test_what_cannot_be_computed_is_left_out(
    tmp_path: Path, changes: dict[str, Any], what: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_with_findings(tmp_path, replaced("annotations", **changes), capsys)
    assert [annotation.id for annotation in dataset.annotations[7]] == [6]
    assert kinds(dataset) == [("left out", 1, what)]
    assert dataset.findings[0].first == first


def test_entries_that_are_no_objects_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {key: [*entries, 7, None] for key, entries in CONTENT.items()}
    dataset = read_with_findings(tmp_path, content, capsys)
    assert [finding.count for finding in dataset.findings] == [2, 2, 2]
    assert (len(dataset.images), len(dataset.categories), len(dataset.annotations[7])) == (2, 2, 2)


def test_boxes_alone_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = copy.deepcopy(CONTENT)
    for entry in content["annotations"]:
        del entry["segmentation"]
    dataset = read_with_findings(tmp_path, content, capsys)
    assert kinds(dataset) == [("left out", 2, NO_MASK)]
    assert "none has a mask: nothing can be learnt or measured; draw their outlines" in str(dataset.findings[1])


@pytest.mark.parametrize("number", ["img_003", "a1b2-c3", "007", 1.5, 10**30])
def test_ids_that_are_no_whole_numbers_are_numbered_anew(
    tmp_path: Path, number: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    content = copy.deepcopy(CONTENT)
    content["images"][0]["id"] = content["categories"][0]["id"] = number
    for entry in content["annotations"]:
        entry["image_id"] = number
    content["annotations"][0]["category_id"] = number
    dataset = read_with_findings(tmp_path, content, capsys)
    assert [(image.id, image.file_name) for image in dataset.images] == [(1, "b.jpg"), (3, "a.jpg")]
    assert dataset.categories == {1: "person", 2: "toothbrush"}
    assert [annotation.category_id for annotation in dataset.annotations[1]] == [2, 1]
    assert "results name the new ids" in str(dataset.findings[0])


def test_ids_as_text_or_floats_are_the_numbers(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["images"][0]["id"], content["images"][1]["id"] = "7", 3.0
    content["categories"][0]["id"] = "90"
    dataset = read_coco(write(tmp_path / "a.json", content))
    assert [image.id for image in dataset.images] == [3, 7]
    assert dataset.category_ids == (1, 90)
    assert len(dataset.annotations[7]) == 2
    assert kinds(dataset) == [
        ("mended", 1, "image ids that are written as text"), ("mended", 1, "category ids that are written as text")
    ]  # fmt: skip


def test_image_entries_of_one_id_are_one_if_equal_and_none_if_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"id": 3, "file_name": "c.jpg", "height": 30, "width": 40}
    content = {**CONTENT, "images": [*CONTENT["images"], CONTENT["images"][0], other]}
    dataset = read_with_findings(tmp_path, content, capsys)
    assert [image.id for image in dataset.images] == [7]
    assert len(dataset.annotations[7]) == 2
    assert kinds(dataset) == [
        ("mended", 1, "image entries that repeat another one (taken once)"),
        ("left out", 1, "image ids of several different entries (all of them, and their objects)"),
    ]


def test_category_entries_of_one_id_are_one_if_equal_and_none_if_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [{"id": 90, "name": "toothbrush", "supercategory": "x"}, {"id": 1, "name": "people"}]
    dataset = read_with_findings(tmp_path, {**CONTENT, "categories": CONTENT["categories"] + more}, capsys)
    assert dataset.categories == {90: "toothbrush"}
    assert [annotation.id for annotation in dataset.annotations[7]] == [5]


@pytest.mark.parametrize("name", [None, [], {"en": "car"}])
def test_categories_without_a_name_are_called_by_their_id(tmp_path: Path, name: Any) -> None:
    dataset = read_coco(write(tmp_path / "a.json", replaced("categories", name=name)))
    assert dataset.categories == {1: "person", 90: "90"}
    assert read_coco(write(tmp_path / "a.json", without("categories", "name"))).categories == dataset.categories


def test_a_category_without_an_id_is_found_by_its_name(tmp_path: Path) -> None:
    content = without("categories", "id")
    content["annotations"][0]["category_id"] = "toothbrush"
    dataset = read_coco(write(tmp_path / "a.json", content))
    assert dataset.categories == {1: "person", 2: "toothbrush"}
    assert [annotation.category_id for annotation in dataset.annotations[7]] == [2, 1]


def test_without_categories_they_are_those_of_the_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = read_with_findings(tmp_path, {**CONTENT, "categories": []}, capsys)
    assert dataset.categories == {1: "1", 90: "90"}
    assert len(dataset.annotations[7]) == 2
    assert dataset.findings[0].count == 2


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


def test_an_object_keeps_its_proper_polygons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proper = [1, 2, 4, 2, 4, 6]
    dataset = read_coco(write(tmp_path / "a.json", replaced("annotations", segmentation=[[1, 2, 3, 4], proper])))
    assert dataset.annotations[7][0].segmentation == [proper]
    assert not capsys.readouterr().err


def test_files_that_are_no_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_coco(tmp_path / "absent.json")
    for data in (b" ", b"\xff\xd8\xff\xe0", b'{"images": [', '{"images": "ü"}'.encode("latin-1")):
        (tmp_path / "bad.json").write_bytes(data)
        with pytest.raises(UserError, match="not a JSON file"):
            read_coco(tmp_path / "bad.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_text_of_other_encodings_is_read(tmp_path: Path, encoding: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = copy.deepcopy(CONTENT)
    content["images"][0]["file_name"] = "Übersicht 1.jpg"
    (tmp_path / "a.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_coco(tmp_path / "a.json").images[1].file_name == "Übersicht 1.jpg"
    assert not capsys.readouterr().err
