"""Memory of boundaries; their figures are held to references in test_random_sets.py and test_coco.py."""

import tracemalloc

import numpy as np
import pytest

from refinemask.evaluation.boundaries import boundary_overlaps
from refinemask.masks import RLE, compress

BYTES_PER_PIXEL = 10
"""Two masks and the sums of one neighbourhood: seven, and room."""


def almost_all(height: int, width: int, hole: int) -> RLE:
    """A mask of all pixels of an image but one."""
    return compress(np.array([0, hole, 1, height * width - hole - 1]), height, width)


@pytest.mark.parametrize(
    ("objects", "height", "width"), [(40, 400, 600), pytest.param(100, 4000, 6000, marks=pytest.mark.slow)]
)
def test_memory_does_not_grow_with_the_number_of_objects(objects: int, height: int, width: int) -> None:
    masks = [almost_all(height, width, 1 + number) for number in range(objects)]
    # Each detection overlaps its own object alone by more than one half.
    overlaps = np.where(np.eye(objects, dtype=bool), 1.0, 0.0)
    tracemalloc.start()
    found = boundary_overlaps(masks, masks, overlaps, np.zeros(objects, bool))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (np.diag(found) == 1).all()
    assert peak < BYTES_PER_PIXEL * height * width
