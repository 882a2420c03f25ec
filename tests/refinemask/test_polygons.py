"""Far polygons are cut off where no pixel shows it; all others stay as they are."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask import polygons
from refinemask.masks import polygon_rle
from refinemask.polygons import FAR, near_image, outline_length

HEIGHT, WIDTH = 90, 120


def drawn(polygon: NDArray[np.float64]) -> NDArray[np.uint8]:
    return coco_mask.decode(polygon_rle([polygon], HEIGHT, WIDTH))


def directly(polygon: NDArray[np.float64]) -> NDArray[np.uint8]:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([polygon.tolist()], HEIGHT, WIDTH)))


def random_polygon(seed: int, spread: float) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    return random.normal(50, spread, 2 * random.integers(3, 12))


@pytest.mark.parametrize("spread", [20, 300, 5000])
def test_polygons_that_are_not_far_reach_the_rasteriser_bit_for_bit(spread: float) -> None:
    for seed in range(30):
        polygon = random_polygon(seed, spread)
        assert near_image(polygon, HEIGHT, WIDTH) is polygon
        assert np.array_equal(drawn(polygon), directly(polygon))


def distance_to_outline(polygon: NDArray[np.float64], points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    corners = polygon.reshape(-1, 2)
    start, edge = corners, np.roll(corners, -1, axis=0) - corners
    along = ((points[:, None] - start) * edge).sum(-1) / (edge**2).sum(-1)
    return np.linalg.norm(start + along.clip(0, 1)[..., None] * edge - points[:, None], axis=-1).min(1)


@pytest.mark.parametrize("spread", [100, 1000, 5000])
def test_cutting_changes_pixels_on_the_outline_alone(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "FAR", 0)
    cut = 0
    for seed in range(60):
        polygon = random_polygon(seed, spread)
        cut += near_image(polygon, HEIGHT, WIDTH).size != polygon.size
        changed = np.argwhere(drawn(polygon) != directly(polygon))
        assert len(changed) < 0.01 * HEIGHT * WIDTH
        # Corners are rounded to a fifth of a pixel, and a pixel's corner is 0.71 from its centre.
        assert (distance_to_outline(polygon, changed[:, ::-1].astype(np.float64) + 0.5) < 1).all()
    assert cut > 20


@pytest.mark.parametrize("far", [1e7, 1e9, 1e12, 1e16, 1e300, 1e308])
def test_far_polygons_are_drawn_as_their_part_in_the_image(far: float) -> None:
    half = np.array([-far, 10, far, 10, far, far, -far, far])
    assert drawn(half)[10:].all()
    assert not drawn(half)[:10].any()
    assert drawn(np.array([-far, -far, far, -far, far, far, -far, far])).all()
    assert not drawn(np.array([far, far, far, far / 2, far / 2, far])).any()
    triangle = drawn(np.array([0, 0, far, far, 0, far]))
    rows, columns = np.indices((HEIGHT, WIDTH))
    assert triangle[rows > columns].all()
    assert not triangle[rows < columns - 1].any()


def test_what_is_left_of_a_far_polygon_is_short() -> None:
    for seed in range(20):
        near = near_image(random_polygon(seed, 1e9), HEIGHT, WIDTH)
        assert outline_length(near) < FAR
        assert np.abs(near).max() <= 220


def test_the_length_of_an_outline_counts_every_edge() -> None:
    assert outline_length(np.array([0.0, 0, 30, 0, 30, 40, 0, 40])) == 140
