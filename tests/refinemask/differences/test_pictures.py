"""Pictures of differing masks: exact where an image is shown as it is, small whatever the image."""

import math
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.differences.pictures import draw_differences
from refinemask.page.viewer import Panel, Shape, Views

NAMES = {1: "cell"}


def result(mask: NDArray[np.bool_], score: float = 0.9) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"category_id": 1, "bbox": coco_mask.toBbox(rle).tolist(), "segmentation": rle, "score": score}


def draw(first: list[Any], second: list[Any], size: tuple[int, int], most_bytes: int = 10**6, **options: Any) -> Views:
    noise = np.random.default_rng(0).integers(0, 256, (size[0] // 10, size[1] // 10, 3), dtype=np.uint8)
    pixels = noise.repeat(10, axis=0).repeat(10, axis=1)
    return draw_differences(pixels, "a.png", ("A", "B"), (first, second), NAMES, most_bytes=most_bytes, **options)


def filled(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that a path fills: those left of which it has an odd number of vertical edges."""
    edges = np.zeros((size[0], size[1] + 1), int)
    for loop in re.findall(r"M(\d+) (\d+)([^z]*)z", shape.path):
        x, y = int(loop[0]), int(loop[1])
        # A loop begins with a step to the right and comes back by one up, which the path leaves to its end.
        corners = [(x, y)]
        for direction, step in re.findall(r"([hv])(-?\d+)", loop[2]):
            x, y = (x + int(step), y) if direction == "h" else (x, y + int(step))
            corners.append((x, y))
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if x0 == x1:
                edges[min(y0, y1) : max(y0, y1), x0] += 1
    return edges.cumsum(axis=1)[:, :-1] % 2 == 1


def panel(views: Views, title: str) -> Panel:
    [found] = [each for each in views.panels if each.title == title]
    return found


def test_the_difference_has_exactly_the_pixels_of_one_mask_alone() -> None:
    random = np.random.default_rng(1)
    first = random.random((30, 40)) < 0.8
    second = first ^ (random.random((30, 40)) < 0.05)
    shapes = {
        shape.kind: shape for shape in panel(draw([result(first)], [result(second)], (30, 40)), "difference").shapes
    }
    assert (filled(shapes["both"], (30, 40)) == (first & second)).all()
    assert (filled(shapes["only first"], (30, 40)) == (first & ~second)).all()
    assert (filled(shapes["only second"], (30, 40)) == (second & ~first)).all()


def test_partners_have_one_colour_and_others_their_own() -> None:
    masks = np.zeros((3, 20, 30), bool)
    for number, mask in enumerate(masks):
        mask[2:12, 10 * number : 10 * number + 8] = True
    views = draw([result(masks[1]), result(masks[0])], [result(masks[0]), result(masks[2])], (20, 30))
    first, second = ({shape.kind for shape in panel(views, side).shapes} for side in "AB")
    assert len(first & second) == 1
    assert len(first | second) == 3
    assert views.notes == ("1 object in both, their masks with a mean IoU of 1.000; 1 only in A; 1 only in B",)
    assert [shape.kind for shape in panel(views, "difference").shapes] == ["both", "only first", "only second"]


def test_annotations_get_a_panel() -> None:
    mask = np.ones((20, 30), bool)
    views = draw([result(mask)], [], (20, 30), annotated=[result(mask)])
    assert [each.title for each in views.panels] == ["annotations", "A", "B", "difference"]


@pytest.mark.parametrize("most_bytes", [60_000, 15_000])
def test_a_large_image_is_cut_and_reduced_to_the_bytes_that_it_may_take(most_bytes: int) -> None:
    mask = np.zeros((2000, 2400), bool)
    mask[1600:1700, 2000:2100] = True
    views = draw([result(mask)], [], (2000, 2400), most_bytes)
    assert views.bytes <= most_bytes
    note = views.notes[-1]
    assert note.startswith("the part 1280×1280 at (1120, 720) of 2400×2000 pixels, reduced from 1280×1280 to ")
    [shape] = panel(views, "A").shapes
    # The object has 100 of the 1280 rows and columns.
    side = 100 * views.size[0] / 1280
    assert math.floor(side) ** 2 <= filled(shape, views.size).sum() <= math.ceil(side) ** 2
