"""Detections of two ways of running a detector in float32."""

from typing import Any

import numpy as np

from refinemask.structures import Detections
from tests.support.tolerances import TOLERANCES


def assert_near_detections(found: Any, expected: Any) -> None:
    """Both have the same detections in the same order, as near as float32 sums in another order are.

    Takes the fields of :class:`Detections` as arrays or tensors. Masks of places without a detection must be finite.
    """
    ours, theirs = (Detections(*(np.asarray(field) for field in fields)) for fields in (found, expected))
    for name in Detections._fields:
        assert getattr(ours, name).shape == getattr(theirs, name).shape, name
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype, name
    np.testing.assert_array_equal(ours.num_detections, theirs.num_detections)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    for name in ("boxes", "scores"):
        tolerance = TOLERANCES[f"engine {name}"].absolute
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=tolerance, err_msg=name)
    real = np.arange(theirs.masks.shape[1]) < theirs.num_detections[:, None]
    assert_near_masks(ours.masks[real], theirs.masks[real])
    assert np.isfinite(ours.masks).all(), "padding is computed too, and must be finite"


def assert_near_masks(found: Any, expected: Any) -> None:
    """Both masks are the same probabilities, but for a few pixels that change sides of a boundary."""
    far = np.abs(np.asarray(found) - np.asarray(expected)) > TOLERANCES["engine masks"].absolute
    assert far.size > 0
    assert far.mean() < TOLERANCES["mask pixels that changed sides"].absolute
