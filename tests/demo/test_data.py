"""Every bundled picture may be distributed, says under which terms, and is what its annotations describe."""

import json
from pathlib import Path

import pytest
from pycocotools import mask as coco_mask

from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.masks import segmentation_rle

DEMO = Path(__file__).resolve().parents[2] / "demo"
SETS = [
    ("nuclei", "instances_train.json", 183),
    ("nuclei", "instances_val.json", 46),
    ("photos", "instances_val.json", 12),
]
FREE_LICENCES = {
    "CC0 1.0 Public Domain Dedication",
    "Attribution License",
    "No known copyright restrictions",
}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}


def test_every_picture_has_a_free_licence() -> None:
    licensed = set()
    for folder, file, _ in SETS:
        content = json.loads((DEMO / folder / "annotations" / file).read_text())
        names = {licence["id"]: licence["name"] for licence in content["licenses"]}
        for image in content["images"]:
            assert names[image["license"]] in FREE_LICENCES
            licensed.add(DEMO / folder / "images" / image["file_name"])
    assert {path for path in DEMO.rglob("*") if path.suffix.lower() in PICTURES} == licensed


def test_every_photo_is_attributed() -> None:
    attribution = (DEMO / "photos" / "ATTRIBUTION.md").read_text().splitlines()
    content = json.loads((DEMO / "photos" / "annotations" / "instances_val.json").read_text())
    for image in content["images"]:
        [row] = [line for line in attribution if image["file_name"] in line]
        assert "CC BY 2.0" in row
        assert image["flickr_page"] in row
    assert any("Changes: none" in line for line in attribution)


def test_nuclei_are_public_domain() -> None:
    assert "CC0 1.0" in (DEMO / "nuclei" / "LICENSE.md").read_text()


def test_bundled_data_stays_small() -> None:
    assert sum(path.stat().st_size for folder in ("nuclei", "photos") for path in (DEMO / folder).rglob("*")) < 10e6


@pytest.mark.parametrize(("folder", "file", "count"), SETS)
def test_annotations_fit_the_pictures(folder: str, file: str, count: int) -> None:
    dataset = read_coco(DEMO / folder / "annotations" / file)
    assert len(dataset.images) == count
    for image in dataset.images:
        assert read_image(DEMO / folder / "images" / image.file_name).shape == (image.height, image.width, 3)
        for annotation in dataset.annotations[image.id]:
            assert coco_mask.area(segmentation_rle(annotation.segmentation, image.height, image.width)) > 0


def test_training_and_evaluation_images_are_disjoint() -> None:
    train, val = (read_coco(DEMO / folder / "annotations" / file) for folder, file, _ in SETS[:2])
    assert not {image.file_name for image in train.images} & {image.file_name for image in val.images}
