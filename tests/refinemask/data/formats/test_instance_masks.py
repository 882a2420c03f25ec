"""Instance masks come back pixel by pixel, whatever their bits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from refinemask.data.findings import Findings
from refinemask.data.formats.content import Content
from refinemask.data.formats.instance_masks import read_instance_masks
from refinemask.files import UserError
from tests.support.other_formats import HEIGHT, WIDTH, instance_masks, label_map, picture, save_palette, text


def read(path: Path, images: Path | None = None, class_name: str = "cell") -> tuple[Content, list[str]]:
    findings = Findings()
    content = read_instance_masks(path, images, findings, class_name)
    return content, [f"{finding.kind}: {finding.count} {finding.what}" for finding in findings]


def masks(content: Content, image_id: int = 1) -> list[np.ndarray]:
    found = [entry["segmentation"] for entry in content.annotations if entry["image_id"] == image_id]
    return [coco_mask.decode(rle).astype(bool) for rle in found]


def assert_masks_of(content: Content, values: np.ndarray, image_id: int = 1) -> None:
    expected = [values == value for value in np.unique(values) if value]
    np.testing.assert_array_equal(masks(content, image_id), expected)


def test_masks_of_16_bits_come_back(tmp_path: Path) -> None:
    places = instance_masks(tmp_path)
    content, findings = read(places.annotations)
    assert content.categories == {1: "cell"}
    assert [image["file_name"] for image in content.images] == ["a.jpg", "b.jpg"]
    for image_id in (1, 2):
        assert_masks_of(content, label_map(image_id - 1), image_id)
    first = content.annotations[0]
    assert first["area"] == (label_map() == 1).sum()
    rows, columns = np.nonzero(label_map() == 1)
    assert first["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert [entry["id"] for entry in content.annotations] == list(range(1, 11))
    assert findings == []


@pytest.mark.parametrize("kind", ["8 bits", "palette", "colours", "colours and alpha", "tiff"])
def test_kinds_of_masks(tmp_path: Path, kind: str) -> None:
    places, values = instance_masks(tmp_path), label_map()
    path = places.annotations / "a.png"
    if kind == "palette":
        save_palette(path, values)
    elif kind.startswith("colours"):
        # Objects whose colours differ in one channel, in the order of their values.
        channels = [values * 40, values * 0, values * 3, np.full_like(values, 255)]
        Image.fromarray(np.stack(channels[: 4 if "alpha" in kind else 3], axis=2)).save(path)
    elif kind == "tiff":
        path.unlink()
        Image.fromarray(values.astype(np.uint16) * 300).save(path.with_suffix(".tif"))
    else:
        Image.fromarray(values).save(path)
    content, findings = read(places.annotations)
    assert_masks_of(content, values)
    assert findings == []


@pytest.mark.parametrize("listed", [None, "dog\ncat\nbird\n"])
def test_a_folder_for_each_class(tmp_path: Path, listed: str | None) -> None:
    for stem in ("a", "x/b"):
        picture(tmp_path / "pictures" / f"{stem}.jpg")
        for seed, name in enumerate(("cat", "dog")):
            save_palette(tmp_path / "masks" / name / f"{stem}.png", label_map(seed, objects=2))
    if listed:
        text(tmp_path / "masks" / "classes.txt", listed)
    content, findings = read(tmp_path / "masks", tmp_path / "pictures")
    assert content.categories == ({1: "dog", 2: "cat", 3: "bird"} if listed else {1: "cat", 2: "dog"})
    assert [image["file_name"] for image in content.images] == ["a.jpg", "x/b.jpg"]
    names = [content.categories[entry["category_id"]] for entry in content.annotations if entry["image_id"] == 1]
    assert names == ["cat", "cat", "dog", "dog"]
    expected = [label_map(seed, 2) == value for seed in (0, 1) for value in (1, 2)]
    np.testing.assert_array_equal(masks(content), expected)
    assert findings == []


def test_an_empty_mask_is_a_picture_without_objects(tmp_path: Path) -> None:
    places = instance_masks(tmp_path)
    save_palette(places.annotations / "a.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    content, findings = read(places.annotations)
    assert len(content.images) == 2
    assert masks(content) == []
    assert findings == []


def test_the_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    places = instance_masks(tmp_path)
    picture(places.images / "a.jpg", WIDTH, HEIGHT, orientation=8)
    content, findings = read(places.annotations)
    assert_masks_of(content, label_map())
    assert findings == []


def test_what_does_not_belong_together_is_counted(tmp_path: Path) -> None:
    places = instance_masks(tmp_path)
    for name in ("alone", "broken", "small"):
        save_palette(places.annotations / f"{name}.png", label_map())
    picture(places.images / "broken.jpg")
    (places.annotations / "broken.png").write_bytes(b"text")
    picture(places.images / "small.jpg", 5, 5)
    text(places.images / "b.jpg", "no picture")
    content, findings = read(places.annotations)
    assert [image["file_name"] for image in content.images] == ["a.jpg"]
    assert sorted(findings) == [
        "left out: 1 masks of another size than their picture",
        "left out: 1 masks that cannot be read",
        "left out: 1 masks without a picture of the same name",
        "left out: 1 pictures that cannot be read",
        "left out: 3 pictures without a mask",
    ]


def test_pictures_must_be_found(tmp_path: Path) -> None:
    places = instance_masks(tmp_path)
    places.images.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"name their folder with --images"):
        read(places.annotations)
    with pytest.raises(UserError, match=r"nowhere: no such folder of pictures"):
        read(places.annotations, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"empty: holds no picture"):
        read(places.annotations, text(tmp_path / "empty" / "notes.txt", "").parent)
    assert len(read(places.annotations, tmp_path / "elsewhere")[0].images) == 2


def test_pictures_are_not_their_own_masks(tmp_path: Path) -> None:
    places = instance_masks(tmp_path)
    with pytest.raises(UserError, match=r"is a picture of .*; expected the folder of its masks"):
        read(places.annotations, places.annotations)
