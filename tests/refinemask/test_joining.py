"""Objects that tiles cut are put together, each once, as they are known without tiles."""

from collections.abc import Callable
from itertools import product

import cv2
import numpy as np
import pytest

from refinemask.joining import join
from refinemask.prediction import Prediction, predict
from refinemask.streaming.images import predict_images
from refinemask.structures import ImageDetections
from refinemask.tiling import Tiling
from tests.support.coloured_objects import ColouredObjects
from tests.support.tolerances import TOLERANCES

TILE, OVERLAP = 64, 24
TILING = Tiling(TILE, OVERLAP)
# The second tile begins at 40, so the band is 40..64 in either direction.
Draw = Callable[[np.ndarray], object]


def picture(draw: Draw, shape: tuple[int, int] = (104, 144)) -> np.ndarray:
    image = np.zeros((*shape, 3), np.uint8)
    draw(image)
    return image


def box(image: np.ndarray, value: int, left: int, top: int, right: int, bottom: int, channel: int = 0) -> np.ndarray:
    image[top:bottom, left:right, channel] = value
    return image


def disk(image: np.ndarray, value: int, centre: tuple[int, int], radius: int) -> np.ndarray:
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    image[(columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= radius**2, 0] = value
    return image


def objects(image: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """The masks that are there, by class and value."""
    return {
        (label, value): image[..., label] == value
        for label in (0, 1)
        for value in np.unique(image[..., label]).tolist()
        if value
    }


def in_tiles(image: np.ndarray, predictor: ColouredObjects, batch_size: int = 1) -> Prediction:
    [found] = predict_images(predictor, [image], tile=TILE, overlap=OVERLAP, batch_size=batch_size)
    return found


def overlaps(found: Prediction, image: np.ndarray) -> np.ndarray:
    """[found, expected] mask IoU of detections and objects of one class; 0 between classes."""
    expected = objects(image)
    ious = np.zeros((len(found), len(expected)))
    for row, (label, mask) in enumerate(zip(found.labels, found.masks(), strict=True)):
        for column, ((other, _), whole) in enumerate(expected.items()):
            if label == other:
                ious[row, column] = (mask & whole).sum() / (mask | whole).sum()
    return ious


CASES: dict[str, Draw] = {
    "inside a tile": lambda image: box(image, 200, 5, 5, 25, 30),
    "across two tiles, whole in neither": lambda image: box(image, 200, 15, 5, 85, 30),
    "across four tiles, whole in none": lambda image: disk(image, 200, (52, 52), 30),
    "in the corner that four tiles share": lambda image: disk(image, 200, (52, 52), 10),
    "in the band of two tiles": lambda image: box(image, 200, 42, 5, 62, 25),
    "as wide as the band": lambda image: box(image, 200, 40, 5, 64, 30),
    "reaching a little into the band": lambda image: box(image, 200, 15, 5, 43, 25),
    "a sliver beyond a tile's edge": lambda image: box(image, 200, 30, 70, 66, 90),
    "longer than a tile, along all": lambda image: box(image, 200, 0, 48, 144, 58),
    "a diagonal through all": lambda image: cv2.line(image, (3, 3), (140, 100), (200, 0, 0), 9),
    "a ring across all": lambda image: cv2.circle(image, (72, 52), 45, (200, 0, 0), 7),
    "the whole image": lambda image: box(image, 200, 0, 0, 144, 104),
    "neighbours that touch in the band": lambda image: (
        box(image, 200, 42, 5, 52, 25),
        box(image, 180, 52, 5, 62, 25),
        box(image, 160, 44, 25, 60, 35),
    ),
    "neighbours that touch, both cut": lambda image: (
        box(image, 200, 10, 5, 90, 20),
        box(image, 180, 10, 20, 90, 24),
    ),
    "neighbours end to end across the band": lambda image: (
        box(image, 200, 5, 10, 50, 30),
        box(image, 180, 50, 10, 100, 30),
    ),
    "one within another": lambda image: (disk(image, 200, (52, 52), 30), disk(image, 180, (60, 52), 8)),
    "two classes on the same pixels": lambda image: (
        box(image, 200, 15, 5, 85, 30),
        box(image, 200, 15, 5, 85, 30, channel=1),
        box(image, 180, 44, 40, 60, 56),
        box(image, 180, 44, 40, 60, 56, channel=1),
    ),
    "a grid of many": lambda image: [
        box(image, 20 + 3 * (12 * row + column), 12 * column, 11 * row, 12 * column + 12, 11 * row + 11)
        for row in range(6)
        for column in range(12)
    ],
}


@pytest.mark.parametrize("draw", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_object_is_found_once_and_whole(draw: Draw, batch_size: int) -> None:
    image = picture(draw)
    found = in_tiles(image, ColouredObjects(TILE), batch_size)
    expected = list(objects(image).items())
    assert len(found) == len(expected) >= 1
    ious = overlaps(found, image)
    np.testing.assert_array_equal((ious == 1).sum(axis=0), 1)
    np.testing.assert_array_equal((ious == 1).sum(axis=1), 1)
    assert (np.diff(found.scores) <= 0).all()
    for index, column in enumerate(ious.argmax(axis=1)):
        (_, value), mask = expected[column]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        np.testing.assert_array_equal(found.boxes[index], [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert value / 255 - 0.1 <= found.scores[index] + 1e-6 <= value / 255 + 2e-6
        assert found.rles[index]["size"] == [104, 144]


@pytest.mark.parametrize(("careless", "size"), [(1, 3), (1, 9), (1, OVERLAP - 4)])
def test_what_a_tile_sees_whole_is_taken_from_there(careless: int, size: int) -> None:
    for left, top in product(range(1, 120, 7), range(1, 80, 4)):
        image = picture(lambda image: box(image, 200, left, top, left + size, top + size))  # noqa: B023
        found = in_tiles(image, ColouredObjects(TILE, careless=careless))
        assert len(found) == 1, (left, top)
        assert overlaps(found, image)[0, 0] == 1, (left, top)


@pytest.mark.parametrize("size", [26, 40, 55])
def test_careless_masks_of_cut_objects_are_still_joined(size: int) -> None:
    for left in range(3, 80, 7):
        image = picture(lambda image: disk(image, 200, (left + size // 2, 52), size // 2))  # noqa: B023
        found = in_tiles(image, ColouredObjects(TILE, careless=1))
        assert len(found) == 1
        limit = 1 - TOLERANCES["overlap of joined masks"].absolute
        assert overlaps(found, image)[0, 0] >= limit or size > OVERLAP


def test_an_object_that_one_tile_alone_finds() -> None:
    image = picture(lambda image: (box(image, 200, 20, 5, 58, 30), box(image, 180, 45, 40, 60, 60)))
    found = in_tiles(image, ColouredObjects(TILE, finds_cut=False))
    assert len(found) == 2
    np.testing.assert_array_equal(np.sort(overlaps(found, image)), [[0, 1], [0, 1]])


@pytest.mark.parametrize("overlap", [1, 7, 16, 32])
@pytest.mark.parametrize("shape", [(70, 65), (64, 200), (150, 40), (127, 131)])
def test_the_last_tiles_may_share_any_number_of_pixels(shape: tuple[int, int], overlap: int) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    for number, (row, column) in enumerate(np.ndindex(shape[0] // 20, shape[1] // 20)):
        box(image, 20 + 3 * number, 20 * column + 3, 20 * row + 3, 20 * column + 17, 20 * row + 17)
    [found] = predict_images(ColouredObjects(64), [image], tile=64, overlap=overlap)
    assert len(found) == len(objects(image)) > 5
    assert overlaps(found, image).max(axis=0).min() == 1


def test_the_order_of_the_tiles_does_not_matter() -> None:
    image = picture(CASES["a grid of many"])
    disk(image, 255, (52, 52), 30)
    tiles = TILING.tiles(104, 144)
    predictor = ColouredObjects(TILE, careless=1)
    found: list[ImageDetections] = []
    for tile in tiles:
        [each] = predict(predictor, [tile.of(image)])
        found.append(ImageDetections(each.boxes, each.scores, each.labels, list(each.rles)))
    expected = join(found, tiles, 104, 144)
    assert len(expected.scores) > 20
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(tiles))
        other = join([found[index] for index in order], [tiles[index] for index in order], 104, 144)
        keys = [sorted((rle["counts"], float(score)) for rle, score in zip(each.rles, each.scores, strict=True))
                for each in (expected, other)]  # fmt: skip
        assert keys[0] == keys[1]


def test_nothing_in_any_tile() -> None:
    found = in_tiles(picture(lambda image: None), ColouredObjects(TILE))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.masks().shape == (0, 104, 144)
