"""Batches for runners, and the comparison of what they give."""

import numpy as np

from refinemask.structures import Detections

Batch = tuple[np.ndarray, np.ndarray]


def batch_of(width: int, seed: int = 0) -> Batch:
    """One image, 64 high."""
    images = np.random.default_rng(seed).integers(0, 256, (1, 3, 64, width), dtype=np.uint8)
    return images, np.array([[60, width - 3]], np.int64)


def assert_same(found: Detections, expected: Detections) -> None:
    for name, ours, theirs in zip(Detections._fields, found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
