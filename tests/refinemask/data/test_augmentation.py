"""The augmentation of training images: off it changes nothing, on it is a function of the pick's seed."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refinemask.config import Augmentation, DataConfig
from refinemask.config_json import from_json
from refinemask.data.augmentation import draw_shape, move
from refinemask.data.coco import read_coco
from refinemask.data.example import Example
from refinemask.data.geometry import Bitmap, Polygons, bitmap_box, rasterise
from refinemask.data.sampler import Pick
from refinemask.data.training import TrainingDataset, TrainingImage
from tests.support import tiny_training

SIDE = tiny_training.SIDE
BASE = replace(tiny_training.RECIPE.data, vertical_flip=0.5)
EVERYTHING = Augmentation(scale_jitter=(0.5, 2.0), crop=(80, 90), rotation=0.7, copy_paste=0.7)
Make = Callable[[DataConfig], TrainingDataset]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The drawn pictures, bright squares (polygons) and disks (run lengths) on dark noise, with an augmentation."""
    root = tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))
    return lambda config: TrainingDataset(read_coco(root / "train.json"), root / "images", config)


def drawn(images: TrainingDataset, count: int = 24) -> Iterator[TrainingImage]:
    return (images[Pick(seed % len(images), seed)] for seed in range(count))


def dense(mask: Polygons | Bitmap, shape: tuple[int, ...]) -> Bitmap:
    return mask if isinstance(mask, np.ndarray) else rasterise(mask, shape[0], shape[1])


def digest(images: TrainingDataset, *, pixels: bool = False, bitmaps: bool = False) -> str:
    """A hash of 24 training images; other versions of OpenCV may resize their pixels in another way."""
    result = hashlib.sha256()
    for image in drawn(images):
        if pixels:
            result.update(np.ascontiguousarray(image.pixels).tobytes())
        result.update(str(image.pixels.shape).encode())
        result.update(image.targets.boxes.numpy().tobytes() + image.targets.labels.numpy().tobytes())
        result.update(str(image.targets.seed).encode())
        for mask in image.targets.masks:
            parts = mask if isinstance(mask, list) else [np.ascontiguousarray(mask)] if bitmaps else []
            for part in parts:
                result.update(part.tobytes())
    return result.hexdigest()[:16]


def test_without_augmentation_images_are_what_they_were_before_there_was_any(make: Make) -> None:
    assert digest(make(BASE), pixels=True, bitmaps=True) == "25e8461b4f8b9260"
    resized = replace(BASE, short_sides=(48, 80, 101), long_side=101)
    assert digest(make(resized)) == "c1103b59ba9fe584"
    doubled = replace(BASE, polygons=False, short_sides=(64, 128), long_side=128)
    assert digest(make(doubled), bitmaps=True) == "1b3c135418d793ee"


@pytest.mark.parametrize(
    "change",
    [
        {"scale_jitter": (0.5, 2.0)},
        {"crop": (40, 48)},
        {"colour": 0.5},
        {"rotation": 1.0},
        {"copy_paste": 1.0},
        {"scale_jitter": (0.3, 3.0), "crop": (64, 64), "colour": 0.3, "rotation": 0.5, "copy_paste": 0.5},
    ],
)
def test_the_seed_decides_everything(make: Make, change: dict) -> None:
    plain, images = make(BASE), make(replace(BASE, augmentation=Augmentation(**change)))
    found = digest(images, pixels=True, bitmaps=True)
    assert found == digest(images, pixels=True, bitmaps=True)
    assert found != digest(plain, pixels=True, bitmaps=True)
    assert images[Pick(0, 1)].targets.seed != images[Pick(0, 2)].targets.seed


@pytest.mark.parametrize("polygons", [True, False])
def test_pixels_masks_and_boxes_stay_together(make: Make, polygons: bool) -> None:
    images = make(replace(BASE, polygons=polygons, augmentation=EVERYTHING))
    inside = union = kinds = objects = 0
    for image in drawn(images, 60):
        shape = image.pixels.shape
        bitmaps = [dense(mask, shape) for mask in image.targets.masks]
        objects += len(bitmaps)
        kinds += sum(isinstance(mask, list) for mask in image.targets.masks)
        assert len(bitmaps) == len(image.targets.labels) == len(image.targets.boxes) > 0
        for bitmap, box in zip(bitmaps, image.targets.boxes.numpy(), strict=True):
            # Boxes of resized bitmaps are between pixels, and the COCO rasteriser's objects a pixel larger.
            assert np.abs(bitmap_box(bitmap) - box).max() <= 2
        covered = np.any(bitmaps, axis=0)
        bright = image.pixels.max(axis=2) > 150
        inside, union = inside + (covered & bright).sum(), union + (covered | bright).sum()
    # Resizing blurs the edges of objects of ten pixels.
    assert inside / union > 0.9
    assert objects > 150
    assert kinds == 0 if not polygons else kinds > objects / 4


def test_squares_that_are_not_covered_stay_polygons(make: Make) -> None:
    config = Augmentation(scale_jitter=(0.5, 2.0), crop=(40, 40), rotation=1.0)
    for image in drawn(make(replace(BASE, augmentation=config))):
        labels = image.targets.labels.tolist()
        # Label 0 are the squares.
        assert [isinstance(mask, list) for mask in image.targets.masks] == [label == 0 for label in labels]


def test_scales_are_drawn_evenly_on_a_logarithmic_scale() -> None:
    config = replace(BASE, short_sides=(800,), long_side=1333, augmentation=Augmentation(scale_jitter=(0.1, 2.0)))
    random = np.random.default_rng(0)
    heights = [draw_shape(400, 500, config, random)[0] for _ in range(2000)]
    assert 80 <= min(heights) < 85
    assert 1550 < max(heights) <= 1600
    # Half of the factors lie below the geometric mean.
    assert abs(np.mean(np.array(heights) < 800 * (0.1 * 2) ** 0.5) - 0.5) < 0.05


def test_a_side_keeps_a_pixel() -> None:
    config = replace(BASE, short_sides=(8,), long_side=8, augmentation=Augmentation(scale_jitter=(0.01, 0.01)))
    assert draw_shape(32, 4000, config, np.random.default_rng(0)) == (1, 1)


def lonely(width: int, polygons: bool = False) -> Example:
    """One object of 6 × 6 pixels in a corner of a wide image."""
    mask: Polygons = [np.array([2.0, 2, 8, 2, 8, 8, 2, 8])]
    return Example(
        pixels=np.zeros((60, width, 3), np.uint8),
        boxes=np.array([[2, 2, 8, 8]], np.float32),
        labels=np.zeros(1, np.int64),
        masks=[mask if polygons else rasterise(mask, 60, width)],
    )


@pytest.mark.parametrize("polygons", [True, False])
def test_a_crop_has_an_object(polygons: bool) -> None:
    config = replace(BASE, augmentation=Augmentation(crop=(20, 30)))
    for seed in range(40):
        cropped = move(lonely(2000, polygons), config, np.random.default_rng(seed))
        assert cropped.shape == (20, 30)
        assert len(cropped.masks) == len(cropped.boxes) == len(cropped.labels) == 1


def test_a_crop_may_be_empty_where_images_without_objects_are_trained_on() -> None:
    config = replace(BASE, background_images=True, augmentation=Augmentation(crop=(20, 30)))
    cropped = [move(lonely(2000), config, np.random.default_rng(seed)) for seed in range(40)]
    assert {each.shape for each in cropped} == {(20, 30)}
    assert sum(not len(each.masks) for each in cropped) > 30
    assert all(each.boxes.shape == (len(each.masks), 4) for each in cropped)


def test_an_image_whose_objects_no_crop_shows_stays_whole() -> None:
    unseen = replace(lonely(500), masks=[np.zeros((60, 500), np.uint8)], boxes=np.array([[0, 0, 500, 60]], np.float32))
    config = replace(BASE, augmentation=Augmentation(crop=(20, 30)))
    assert move(unseen, config, np.random.default_rng(0)).shape == (60, 500)


def test_an_image_smaller_than_the_crop_stays_whole() -> None:
    config = replace(BASE, horizontal_flip=0.0, vertical_flip=0.0, augmentation=Augmentation(crop=(60, 80)))
    assert move(lonely(80), config, np.random.default_rng(0)).pixels.shape == (60, 80, 3)


@pytest.mark.parametrize(
    "augmentation",
    ['{"scale_jitter": [2, 1]}', '{"scale_jitter": [0.1, 1e6]}', '{"scale_jitter": [0, 1]}', '{"colour": 1.5}'],
)
def test_what_makes_no_sense_is_refused(augmentation: str) -> None:
    with pytest.raises(ValueError, match=r"scale_jitter|colour"):
        from_json(Augmentation, augmentation)


def test_a_pasted_image_that_cannot_be_read_is_replaced_and_reported(tmp_path: Path) -> None:
    root = tiny_training.draw_dataset(tmp_path / "data", images=2)
    config = replace(BASE, augmentation=Augmentation(copy_paste=1.0))
    images = TrainingDataset(read_coco(root / "train.json"), root / "images", config)
    (root / "images" / "2.png").write_bytes(b"")
    found = [images[Pick(0, seed)] for seed in range(12)]
    assert {len(image.skipped) for image in found} == {0, 1}
    assert all(len(image.targets.masks) > 0 for image in found)
