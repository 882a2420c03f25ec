"""YOLO's layouts, as exporters write them, are read with every outline; what is odd is counted."""

from pathlib import Path

import pytest
from pycocotools import mask as coco_mask

from refinemask.data.findings import Findings
from refinemask.data.formats.content import Content
from refinemask.data.formats.yolo import read_yolo
from refinemask.files import UserError
from tests.support.other_formats import HEIGHT, SQUARE, TRIANGLE, WIDTH, Places, picture, text, yolo, yolo_line
from tests.support.tolerances import assert_near


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return yolo(tmp_path / "set")


def read(path: Path, images: Path | None = None, split: str | None = None) -> tuple[Content, list[str]]:
    findings = Findings()
    content = read_yolo(path, images, findings, split)
    return content, [f"{finding.kind}: {finding.count} {finding.what}" for finding in findings]


def names(content: Content) -> list[str]:
    return [image["file_name"] for image in content.images]


def assert_train(content: Content) -> None:
    """It has the objects of the split to train on."""
    assert [(image["height"], image["width"]) for image in content.images] == [(HEIGHT, WIDTH)] * 2
    assert content.categories == {0: "cat", 1: "dog"}
    assert [(entry["id"], entry["image_id"], entry["category_id"]) for entry in content.annotations] == [
        (1, 1, 1),
        (2, 1, 0),
    ]
    for entry, polygon in zip(content.annotations, (SQUARE, TRIANGLE), strict=True):
        assert_near(entry["segmentation"], [polygon], "outlines of YOLO")


def test_outlines_come_back_to_the_digits_of_the_file(places: Places) -> None:
    content, findings = read(places.annotations, split="train")
    assert_train(content)
    assert names(content) == ["a.jpg", "b.jpg"]
    assert content.folder.samefile(places.images / "train")
    assert findings == []
    assert_near(content.annotations[0]["bbox"], [3, 4, 8, 8.5], "outlines of YOLO")
    rle = coco_mask.merge(coco_mask.frPyObjects([SQUARE], HEIGHT, WIDTH))
    assert content.annotations[0]["area"] == coco_mask.area(rle)


def test_file_names_begin_from_the_folder_that_is_given(places: Places) -> None:
    content, _ = read(places.annotations, places.images, "train")
    assert_train(content)
    assert names(content) == ["train/a.jpg", "train/b.jpg"]


@pytest.mark.parametrize("images", [None, "images", "images/train"])
@pytest.mark.parametrize(("folder", "split"), [("labels/train", None), ("labels", "train"), ("", "train")])
def test_a_folder_of_labels_is_a_split(places: Places, folder: str, split: str | None, images: str | None) -> None:
    root = places.annotations.parent
    content, findings = read(root / folder, None if images is None else root / images, split)
    assert_train(content)
    assert names(content) == (["train/a.jpg", "train/b.jpg"] if images == "images" else ["a.jpg", "b.jpg"])
    assert findings == []


@pytest.mark.parametrize(
    "data",
    [
        "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}",
        "train: ./images/train/\nnames: {'0': cat, '1': dog}",
        "train: [images/train]\nnames: [cat, dog]",
        "path: ''\ntrain: images\\train\nnames: [cat, dog]",
        # Roboflow's begins with a folder too many.
        "train: ../images/train\nval: ../images/val\nnc: 2\nnames: ['cat', 'dog']",
        # The data set was moved from another machine.
        "path: /content/datasets/set\ntrain: images/train\nnames: [cat, dog]\ndownload: |\n  code()",
        "\ufefftrain: images/train\nnames:\n- cat\n- dog\nroboflow: {license: CC BY 4.0}",
    ],
)
def test_spellings_of_the_data_file(places: Places, data: str) -> None:
    content, findings = read(text(places.annotations, data), split="train")
    assert_train(content)
    assert findings == []


def test_roboflows_layout(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "train" / "images" / f"{name}.jpg")
    text(tmp_path / "train" / "labels" / "a.txt", f"{yolo_line(1, SQUARE)}\n{yolo_line(0, TRIANGLE)}\n")
    text(tmp_path / "train" / "labels" / "b.txt", "")
    data = text(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [cat, dog]")
    assert_train(read(data, split="train")[0])
    assert_train(read(tmp_path / "train" / "labels")[0])


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt", "obj.names"])
def test_a_list_of_classes_stands_for_the_data_file(places: Places, name: str) -> None:
    root = places.annotations.parent
    places.annotations.unlink()
    text(root / "labels" / name, "cat\ndog\n")
    content, findings = read(root / "labels" / "train")
    assert_train(content)
    assert findings == []
    (root / "labels" / name).unlink()
    with pytest.raises(UserError, match=r"expected data\.yaml with 'names', or classes\.txt"):
        read(root / "labels" / "train")


def test_a_list_of_pictures_is_a_split(places: Places) -> None:
    root = places.annotations.parent
    text(root / "train.txt", "./images/train/a.jpg\nimages\\train\\b.jpg\n\n./images/train/gone.jpg\n")
    text(places.annotations, "train: train.txt\nnames: [cat, dog]")
    content, findings = read(places.annotations)
    assert_train(content)
    assert findings == ["left out: 1 listed pictures that are not there"]


def test_labels_beside_the_pictures(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "all" / f"{name}.jpg")
    text(tmp_path / "all" / "a.txt", f"{yolo_line(1, SQUARE)}\n{yolo_line(0, TRIANGLE)}\n")
    text(tmp_path / "all" / "b.txt", "")
    data = text(tmp_path / "data.yaml", "train: all\nnames: [cat, dog]")
    assert_train(read(data)[0])
    assert_train(read(tmp_path / "all")[0])


def test_folders_within_a_split_and_other_pictures_formats(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "x" / "a.b.png")
    picture(tmp_path / "images" / "train" / "y" / "c.JPG")
    text(tmp_path / "labels" / "train" / "x" / "a.b.txt", f"{yolo_line(1, SQUARE)}\n{yolo_line(0, TRIANGLE)}\n")
    data = text(tmp_path / "data.yaml", "train: images/train\nnames: [cat, dog]")
    content, findings = read(data)
    assert_train(content)
    assert names(content) == ["x/a.b.png", "y/c.JPG"]
    assert findings == ["mended: 1 pictures without a file of labels (they have no objects)"]


def test_the_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg", height=WIDTH, width=HEIGHT, orientation=6)
    text(tmp_path / "labels" / "a.txt", yolo_line(0, SQUARE))
    content, _ = read(text(tmp_path / "data.yaml", "train: images\nnames: [cat]"))
    assert (content.images[0]["height"], content.images[0]["width"]) == (HEIGHT, WIDTH)
    assert_near(content.annotations[0]["segmentation"], [SQUARE], "outlines of YOLO")


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("0 0.5 0.5 0.2 0.2", "left out: 1 boxes without an outline"),
        ("0 0.5 0.5 0.2 0.2 0.9", "left out: 1 boxes without an outline"),
        ("0 0.5 0.5", "left out: 1 objects without an outline of at least three points"),
        ("0", "left out: 1 objects without an outline of at least three points"),
        ("2 0.1 0.1 0.2 0.1 0.2 0.2", "left out: 1 objects of a class without a name"),
        ("0.5 0.1 0.1 0.2 0.1 0.2 0.2", "left out: 1 objects of a class without a name"),
        ("-1 0.1 0.1 0.2 0.1 0.2 0.2", "left out: 1 objects of a class without a name"),
        ("nan 0.1 0.1 0.2 0.1 0.2 0.2", "left out: 1 objects of a class without a name"),
        ("cat 0.1 0.1 0.2 0.1 0.2 0.2", "left out: 1 lines that are not all numbers"),
        ("0 0.1 0.1 0.2 0,1 0.2 0.2", "left out: 1 lines that are not all numbers"),
        ("0 10 10 20 10 20 20", "left out: 1 objects with coordinates that are no fractions of the picture's size"),
        ("0 nan 0.1 0.2 0.1 0.2 0.2", "left out: 1 objects with coordinates that are no fractions"),
        ("0 0.1 0.1 inf 0.1 0.2 0.2", "left out: 1 objects with coordinates that are no fractions"),
        (yolo_line(0, SQUARE), "left out: 1 lines that are there twice"),
    ],
)
def test_lines_that_hold_no_outline_are_counted(places: Places, line: str, finding: str) -> None:
    labels = text(places.annotations.parent / "labels" / "val" / "c.txt", f"{yolo_line(0, SQUARE)}\n\n{line}\n")
    found = Findings()
    content = read_yolo(places.annotations, None, found, "val")
    assert len(content.annotations) == 1
    (only,) = found
    assert f"{only.kind}: {only.count} {only.what}".startswith(finding)
    assert only.first.startswith(f"{labels} line 3")


@pytest.mark.parametrize(
    ("line", "polygon"),
    [
        ("0.0 0.1 0.2 0.3 0.2 0.3 0.4", [3, 4, 9, 4, 9, 8]),
        ("1.000000e+00\t0.1 0.2   0.3 0.2 0.3 0.4 ", [3, 4, 9, 4, 9, 8]),
        ("0 -0.01 0.2 1.01 0.2 0.3 1.02", [-0.3, 4, 30.3, 4, 9, 20.4]),
    ],
)
def test_lines_as_tools_write_them(places: Places, line: str, polygon: list[float]) -> None:
    text(places.annotations.parent / "labels" / "val" / "c.txt", f"\ufeff{line}\r\n")
    content, findings = read(places.annotations, split="val")
    assert_near(content.annotations[0]["segmentation"], [polygon], "outlines of YOLO")
    x, y, width, height = content.annotations[0]["bbox"]
    assert min(x, y) >= 0
    assert x + width <= WIDTH
    assert y + height <= HEIGHT
    assert findings == []


def test_a_confidence_behind_an_outline_is_dropped(places: Places) -> None:
    text(places.annotations.parent / "labels" / "val" / "c.txt", f"{yolo_line(0, SQUARE)} 0.93")
    content, findings = read(places.annotations, split="val")
    assert_near(content.annotations[0]["segmentation"], [SQUARE], "outlines of YOLO")
    assert findings == ["mended: 1 outlines with a number behind them, such as a confidence (it is dropped)"]


def test_what_is_missing_or_cannot_be_read_is_counted(places: Places) -> None:
    root = places.annotations.parent
    text(root / "images" / "train" / "broken.jpg", "no picture")
    (root / "labels" / "train" / "b.txt").unlink()
    text(root / "labels" / "train" / "alone.txt", yolo_line(0, SQUARE))
    picture(root / "images" / "train" / "c.jpg")
    (root / "labels" / "train" / "c.txt").write_bytes(b"\xff\xfe\x00")
    _, findings = read(root / "labels" / "train")
    assert sorted(findings) == [
        "left out: 1 files of labels that cannot be read",
        "left out: 1 files of labels without a picture",
        "left out: 1 pictures that cannot be read",
        "mended: 1 pictures without a file of labels (they have no objects)",
    ]


def test_numbers_stand_for_names_that_are_missing(places: Places) -> None:
    content, _ = read(text(places.annotations, "train: images/train\nnc: 2"))
    assert content.categories == {0: "class_0", 1: "class_1"}


@pytest.mark.parametrize(
    ("data", "split", "message"),
    [
        ("train: images/train\nval: images/val\nnames: [cat]", None, r"has the splits train, val; name one behind a c"),
        ("train: images/train\nnames: [cat]", "val", "has the splits train, none called 'val'"),
        ("names: [cat]", None, "has no split; expected .* such as train: images/train, or give the folder of the lab"),
        ("names: [cat]", "val", "has no split; expected"),
        ("train: images/train", None, "names: expected the names of the classes"),
        ("train: images/train\nnames: []", None, "names: expected the names of the classes"),
        ("train: images/train\nnames: {a: cat}", None, "names: expected whole numbers before the names"),
        ("train: images/train\nnames: {-1: cat}", None, "names: expected the names of the classes, numbered from 0"),
        ("train: images/train\nnames: [[cat]]", None, r"names.*expected"),
        ("train: images/train\nnames: cat", None, r"names: expected .*, found text"),
        ("train: 5\nnames: [cat]", None, r"train: expected .*, found whole number"),
        ("train: images/gone\nnames: [cat]", None, "'images/gone' is not there .*--images"),
        ("train: \"a\\0b\"\nnames: [cat]", None, "is not there"),
        ("train: /etc\nnames: [cat]", None, "leads to '/etc', which is not below .*--images"),
        ("train: ../../..\nnames: [cat]", None, "which is not below"),
        ("train: images/train\nnames: [cat]\nkpt_shape: [17, 3]", None, "its labels are key points"),
        ("train: images/train\nnames: [cat]\nval: [", "train", "not a YAML file"),
        ("- " * 2000, None, "not a YAML file: is nested too deeply"),
        ("!!python/object/apply:os.system ['true']", None, "not a YAML file: .*could not determine a constructor"),
        ("train: 2001-99-99\nnames: [cat]", None, "not a YAML file: "),
        ("- a", None, "expected object, found list"),
        ("x: " + "a" * (1 << 18), None, "has 262147 bytes"),
        ("", None, "is empty"),
        ("train: data.yaml\nnames: [cat]", None, "its split 'train' .* has no picture"),
        ("train: labels\nnames: [cat]", None, "its split 'train' .* has no picture"),
    ],
)  # fmt: skip
def test_a_wrong_data_file_is_named(places: Places, data: str, split: str | None, message: str) -> None:
    with pytest.raises(UserError, match=rf"data\.yaml: .*{message}|{message}") as error:
        read(text(places.annotations, data), split=split)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_yaml_that_repeats_itself_is_refused(places: Places) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    with pytest.raises(UserError, match="names"):
        read(text(places.annotations, "\n".join([*lines, "train: images/train", "names: *a59"])))


def test_pictures_elsewhere_need_the_option(places: Places, tmp_path: Path) -> None:
    data = text(tmp_path / "x" / "y" / "data.yaml", f"path: {places.images}\ntrain: train\nnames: [cat, dog]")
    with pytest.raises(UserError, match=r"if that is right, name it with --images"):
        read(data)
    content, _ = read(data, places.images)
    assert_train(content)
    assert names(content) == ["train/a.jpg", "train/b.jpg"]


def test_pictures_that_were_moved_are_those_of_the_option(places: Places, tmp_path: Path) -> None:
    data = text(tmp_path / "data.yaml", "path: /content/set\ntrain: images/train\nnames: [cat, dog]")
    content, _ = read(data, places.images / "train")
    assert_train(content)


def test_pictures_of_which_none_has_labels_are_an_error(places: Places) -> None:
    for name in ("a", "b"):
        (places.annotations.parent / "labels" / "train" / f"{name}.txt").unlink()
    with pytest.raises(UserError, match=r"none of its 2 pictures has labels; expected .*labels/train/a\.txt"):
        read(places.annotations, split="train")


def test_the_outlines_are_those_that_supervision_reads(places: Places) -> None:
    supervision = pytest.importorskip("supervision")
    root = places.annotations.parent
    theirs = supervision.DetectionDataset.from_yolo(
        str(root / "images" / "train"), str(root / "labels" / "train"), str(places.annotations)
    )
    content, _ = read(places.annotations, split="train")
    (detections,) = (found for path, _, found in theirs if Path(path).name == "a.jpg")
    assert list(theirs.classes) == list(content.categories.values())
    assert detections.class_id.tolist() == [entry["category_id"] for entry in content.annotations]
    for box, entry in zip(detections.xyxy, content.annotations, strict=True):
        x, y, width, height = entry["bbox"]
        assert_near(box, [x, y, x + width, y + height], "outlines of YOLO")
