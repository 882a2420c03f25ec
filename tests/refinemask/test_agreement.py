"""Matching and judging detections."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from refinemask.agreement import PARITY, compare, match, passes, verification_images, verification_shapes
from refinemask.config import Window
from refinemask.contract import Bounds
from refinemask.files import UserError
from refinemask.structures import Detections
from tests.support.image_files import png

PARITY_FP32 = PARITY["fp32"]


def detections(boxes: Sequence[Sequence[float]], labels: list[int], padding: int = 1) -> Detections:
    """One image's detections as a padded batch; masks are lower triangles."""
    count, total = len(boxes), len(boxes) + padding
    fields = Detections(
        np.zeros((1, total, 4), np.float32),
        np.zeros((1, total), np.float32),
        np.zeros((1, total), np.int64),
        np.array([count]),
        np.zeros((1, total, 8, 8), np.float32),
    )
    fields.boxes[0, :count], fields.labels[0, :count] = np.reshape(boxes, (-1, 4)), labels
    fields.scores[0, :count] = np.linspace(0.9, 0.5, count)
    fields.masks[0, :count] = np.tri(8)
    return fields


BOXES: list[list[float]] = [[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 80, 90], [0, 0, 10, 10]]
LABELS = [0, 0, 1, 2]


def test_swapped_detections_agree() -> None:
    expected = detections(BOXES, LABELS)
    order = [3, 1, 0, 2, 4]
    shuffled = Detections(*(field[:, order] if field.ndim > 1 else field for field in expected))
    found = compare((1, 64, 96), expected, shuffled)
    assert found.unmatched == 0
    assert found.agreeing(PARITY_FP32) == 4
    assert passes([found], PARITY_FP32)


def test_other_class_does_not_match() -> None:
    found = compare((1, 64, 96), detections(BOXES, LABELS), detections(BOXES, [0, 0, 2, 2]))
    assert (len(found.boxes), found.unmatched) == (3, 2)
    assert not passes([found], PARITY_FP32)


def test_each_detection_is_used_once() -> None:
    first, second = (detections([[0, 0, 10, 10]] * count, [0] * count, padding=0) for count in (3, 2))
    single = [Detections(*(field[0] for field in side)) for side in (first, second)]
    assert list(match(*single)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize(("field", "change"), [("boxes", 0.02), ("scores", 1e-3), ("masks", -0.6)])
def test_differences_count(field: str, change: float) -> None:
    expected, moved = detections(BOXES, LABELS), detections(BOXES, LABELS)
    getattr(moved, field)[0, 0] += change
    found = compare((1, 64, 96), expected, moved)
    assert (len(found.boxes), found.agreeing(PARITY_FP32)) == (4, 3)
    assert not passes([found], PARITY_FP32)


def test_no_detections() -> None:
    found = compare((1, 64, 96), detections([], []), detections([], []))
    assert passes([found], PARITY_FP32)
    assert not passes([compare((1, 64, 96), detections(BOXES, LABELS), detections([], []))], PARITY_FP32)


def test_shapes_cover_two_sizes_and_two_batches() -> None:
    dynamic = Bounds(batch=(1, 4, 8), height=(32, 800, 1344), width=(32, 1344, 1344))
    assert verification_shapes(dynamic) == [(1, 800, 1344), (2, 800, 1344), (1, 416, 672), (2, 416, 672)]
    static = Bounds(batch=(2, 2, 2), height=(64, 64, 64), width=(96, 96, 96))
    assert verification_shapes(static) == [(2, 64, 96)]


def test_directory_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"no pictures; .* with --pictures$"):
        verification_images(tmp_path, "--pictures")


def test_deep_pictures_are_verified_on_by_the_window(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.full((9, 8), 4080, np.uint16)))
    [image] = verification_images(tmp_path, window=Window(low=0, high=4080))
    np.testing.assert_array_equal(image, np.full((9, 8, 3), 255))
    with pytest.raises(UserError, match="--window LOW HIGH"):
        verification_images(tmp_path)
