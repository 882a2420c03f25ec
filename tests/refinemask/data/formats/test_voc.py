"""Pascal VOC's instance masks come back pixel by pixel, with the classes of either source."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from refinemask.data.findings import Findings
from refinemask.data.formats.content import Content
from refinemask.data.formats.voc import NAMES, read_voc
from refinemask.files import UserError
from tests.support.other_formats import label_map, picture, save_palette, text, voc, voc_palette

CLASSES_OF_A = ["cat", "dog", "cat", "dog", "cat"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return voc(tmp_path / "VOC2012").annotations


def read(path: Path, images: Path | None = None, split: str | None = None) -> tuple[Content, list[str]]:
    findings = Findings()
    content = read_voc(path, images, findings, split)
    return content, [f"{finding.kind}: {finding.count} {finding.what}" for finding in findings]


def classes(content: Content, image_id: int = 1) -> list[str]:
    found = [entry for entry in content.annotations if entry["image_id"] == image_id]
    return [content.categories[entry["category_id"]] for entry in found]


def assert_masks(content: Content, image_id: int = 1, seed: int = 0) -> None:
    """The objects of an image are those of its label map, without the void row."""
    values = label_map(seed)
    values[-1] = 0
    found = [coco_mask.decode(e["segmentation"]) for e in content.annotations if e["image_id"] == image_id]
    np.testing.assert_array_equal(found, [values == value for value in range(1, 6)])


def test_masks_and_classes_come_back_without_the_void(root: Path) -> None:
    content, findings = read(root)
    assert [image["file_name"] for image in content.images] == ["a.jpg", "b.jpg"]
    assert tuple(content.categories.values()) == NAMES
    assert content.categories[8] == "cat"
    for image_id in (1, 2):
        assert_masks(content, image_id, image_id - 1)
        assert classes(content, image_id) == CLASSES_OF_A
    assert findings == []


@pytest.mark.parametrize("source", ["SegmentationClass", "Annotations"])
def test_one_source_of_classes_is_enough(root: Path, source: str) -> None:
    shutil.rmtree(root / {"SegmentationClass": "Annotations", "Annotations": "SegmentationClass"}[source])
    content, findings = read(root)
    assert_masks(content)
    assert classes(content) == CLASSES_OF_A
    assert findings == []


def test_no_source_of_classes_is_named(root: Path) -> None:
    shutil.rmtree(root / "Annotations")
    shutil.rmtree(root / "SegmentationClass")
    with pytest.raises(UserError, match="neither SegmentationClass nor Annotations, so its objects have no class"):
        read(root)


@pytest.mark.parametrize(("split", "names"), [("val", ["a.jpg"]), ("train", ["b.jpg"])])
def test_a_split_is_a_list_of_the_data_set(root: Path, split: str, names: list[str]) -> None:
    content, _ = read(root, split=split)
    assert [image["file_name"] for image in content.images] == names
    with pytest.raises(UserError, match="has the splits train, val, none called 'test'"):
        read(root, split="test")


def test_sources_that_disagree_are_counted(root: Path) -> None:
    text(root / "Annotations" / "a.xml", "<annotation><object><name>car</name></object></annotation>")
    content, findings = read(root)
    assert classes(content) == CLASSES_OF_A
    assert findings == ["mended: 1 objects of another class in the XML file (that of the class picture is taken)"]


def test_objects_that_only_the_xml_file_names(root: Path) -> None:
    shutil.rmtree(root / "SegmentationClass")
    text(root / "Annotations" / "a.xml", "<annotation><object><name>car</name></object></annotation>")
    content, findings = read(root)
    assert classes(content) == ["car"]
    assert findings == ["left out: 4 objects without a class"]


@pytest.mark.parametrize("listed", [None, "nucleus\ncell\n"])
def test_classes_of_ones_own_in_xml_files(root: Path, listed: str | None) -> None:
    for stem in "ab":
        names = "".join(f"<object><name>{name}</name></object>" for name in ("cell", "nucleus") * 3)
        text(root / "Annotations" / f"{stem}.xml", f"<annotation>{names}</annotation>")
    if listed:
        text(root / "labels.txt", listed)
    content, findings = read(root)
    assert list(content.categories.values()) == (listed.split() if listed else ["cell", "nucleus"])
    assert classes(content) == ["cell", "nucleus", "cell", "nucleus", "cell"]
    assert findings == []


@pytest.mark.parametrize("colours", [False, True])
def test_a_label_map_names_classes(root: Path, colours: bool) -> None:
    shutil.rmtree(root / "Annotations")
    rgb = {"background": (0, 0, 0), "cell": (10, 20, 30), "cat": (1, 2, 3)}
    lines = [f"{name}:{','.join(map(str, colour)) if colours else ''}::" for name, colour in rgb.items()]
    text(root / "labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
    for seed, stem in enumerate("ab"):
        values = np.where(label_map(seed) == 0, 0, label_map(seed) % 2 + 1)
        path = root / "SegmentationClass" / f"{stem}.png"
        if colours:
            Image.fromarray(np.array(list(rgb.values()), np.uint8)[values]).save(path)
        else:
            save_palette(path, values.astype(np.uint8))
    content, findings = read(root)
    assert content.categories == {1: "cell", 2: "cat"}
    assert classes(content) == ["cat", "cell", "cat", "cell", "cat"]
    assert findings == []


def test_pictures_in_colours_instead_of_a_palette(root: Path) -> None:
    palette = np.array(voc_palette(), np.uint8).reshape(256, 3)
    for path in [*root.glob("Segmentation*/*.png")]:
        with Image.open(path) as image:
            values = np.asarray(image)
        Image.fromarray(palette[values]).save(path)
    content, findings = read(root)
    assert_masks(content)
    assert classes(content) == CLASSES_OF_A
    assert findings == []


def test_objects_of_colours_that_are_not_vocs(root: Path) -> None:
    shutil.rmtree(root / "Annotations")
    values = label_map()
    Image.fromarray(np.stack([values, values * 7, values * 0 + (values > 0) * 9], axis=2).astype(np.uint8)).save(
        root / "SegmentationObject" / "a.png"
    )
    content, findings = read(root, split="val")
    assert classes(content) == CLASSES_OF_A
    assert findings == []


def test_what_is_missing_or_cannot_be_read_is_counted(root: Path) -> None:
    save_palette(root / "SegmentationObject" / "alone.png", label_map())
    save_palette(root / "SegmentationObject" / "small.png", label_map())
    picture(root / "JPEGImages" / "small.jpg", 4, 4)
    text(root / "SegmentationClass" / "a.png", "no picture")
    save_palette(root / "SegmentationClass" / "b.png", np.zeros((3, 3), np.uint8))
    text(root / "Annotations" / "b.xml", "<annotation>")
    text(root / "SegmentationObject" / "c.png", "no picture")
    picture(root / "JPEGImages" / "c.jpg")
    text(root / "JPEGImages" / "d.jpg", "no picture")
    save_palette(root / "SegmentationObject" / "d.png", label_map())
    content, findings = read(root)
    assert classes(content) == CLASSES_OF_A
    assert sorted(findings) == [
        "left out: 1 XML files that cannot be read",
        "left out: 1 class pictures of another size than the mask",
        "left out: 1 class pictures that cannot be read",
        "left out: 1 masks of another size than their picture",
        "left out: 1 masks that cannot be read",
        "left out: 1 masks without a picture of the same name",
        "left out: 1 pictures that cannot be read",
        "left out: 5 objects without a class",
    ]


BOMB = "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 12))


@pytest.mark.parametrize(
    "content",
    [
        f'<!DOCTYPE a [<!ENTITY x0 "ha">{BOMB}]><annotation><object><name>&x11;</name></object></annotation>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>',
        '<!DOCTYPE annotation SYSTEM "http://localhost/a.dtd"><annotation/>',
        '<?xml version="1.0" encoding="nonsense"?><annotation/>',
        "<annotation><object></annotation>",
        "\x00",
    ],
)
def test_xml_files_that_could_do_harm_are_left_out(root: Path, content: str) -> None:
    text(root / "Annotations" / "a.xml", content)
    read_content, findings = read(root)
    assert classes(read_content) == CLASSES_OF_A
    assert findings == ["left out: 1 XML files that cannot be read"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_encodings_of_xml_files(root: Path, encoding: str) -> None:
    shutil.rmtree(root / "SegmentationClass")
    for stem in "ab":
        names = "".join(f"<object><name> Zäh{value} </name></object>" for value in range(5))
        (root / "Annotations" / f"{stem}.xml").write_bytes(f"<annotation>{names}</annotation>".encode(encoding))
    content, findings = read(root)
    assert classes(content) == [f"Zäh{value}" for value in range(5)]
    assert findings == []


def test_names_that_lead_elsewhere_are_left_out(root: Path) -> None:
    text(root / "ImageSets" / "Segmentation" / "val.txt", "../../x\n/etc/passwd\na\n\n")
    content, findings = read(root, split="val")
    assert [image["file_name"] for image in content.images] == ["a.jpg"]
    assert "left out: 2 masks without a picture of the same name" in findings


@pytest.mark.parametrize("content", ["", "background:0,0,0::\n", "cat:1,2\n", "cat:a,b,c::\n"])
def test_a_wrong_label_map_is_named(root: Path, content: str) -> None:
    text(root / "labelmap.txt", content)
    with pytest.raises(UserError, match=r"labelmap\.txt: "):
        read(root)


def test_a_split_without_lists_is_refused_with_a_remedy(root: Path) -> None:
    for file in (root / "ImageSets" / "Segmentation").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="has no split; give it without a colon and a name behind it"):
        read(root, split="train")
