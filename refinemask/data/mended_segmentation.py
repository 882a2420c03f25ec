"""Segmentations as tools write them that do not follow COCO's format, where there is no doubt about what they mean."""

import ast
import itertools
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinemask.data.segmentation import Segmentation, extent, read_run_lengths, read_segmentation, run_lengths
from refinemask.json_files import checked, parse_json, short

Box = tuple[float, float, float, float]
DEEPEST = 4
"""Levels of lists in which polygons are looked for."""
LEAST_OVERLAP, MOST_PIXELS_APART = 0.8, 2.0
"""Two boxes are the same object's if their IoU is so large, or no side is farther apart than so many pixels."""


def mend_segmentation(value: Any, height: int, width: int, box: Box | None) -> tuple[Segmentation | None, str]:
    """The segmentation that a malformed one means, and what was mended, as words behind a number.

    Args:
        value: what the file has.
        height: height of the image in pixels.
        width: width of the image in pixels.
        box: the object's (x, y, width, height), by which meanings are told apart; None if it is not known.

    Returns:
        The segmentation, None if it has no area; and the words.

    Raises:
        ValueError: its meaning is not known, or not certain; the message says what is wrong.
    """
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            raise ValueError(f"segmentation: expected polygons or run lengths, found {short(value)}") from None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict):
        return _mend_run_lengths(value, height, width, box)
    polygons, points = _outlines(value)
    proper = [polygon for polygon in polygons if _is_proper(polygon)]
    if polygons and not proper:
        # The strict reader says what is wrong.
        read_segmentation(value, height, width)
        raise ValueError("segmentation: expected an even number of finite coordinates in each polygon")
    if len(proper) < len(polygons):
        what = "objects that lost a polygon with an odd number of coordinates, or one that is no finite number"
    elif points:
        what = "objects whose polygons are lists of points (joined to [x0, y0, x1, y1, …])"
    else:
        what = "objects whose polygons are nested too deeply, or written as text"
    return read_segmentation(proper, height, width), what


def boxes_differ(first: Box, second: Box) -> bool:
    """Whether two boxes (x, y, width, height) are clearly not those of the same object."""
    corners = [(x, y, x + w, y + h) for x, y, w, h in (first, second)]
    if max(abs(a - b) for a, b in zip(*corners, strict=True)) <= MOST_PIXELS_APART:
        return False
    (left, top, right, bottom), (x1, y1, x2, y2) = corners
    shared = max(0.0, min(right, x2) - max(left, x1)) * max(0.0, min(bottom, y2) - max(top, y1))
    return shared < LEAST_OVERLAP * (first[2] * first[3] + second[2] * second[3] - shared)


def _outlines(value: Any, depth: int = 0) -> tuple[list[list[float]], bool]:
    """All polygons within nested lists, and whether one was a list of points.

    A polygon with something that is no number is an empty one.
    """
    if not isinstance(value, list) or depth > DEEPEST or not any(isinstance(part, list | dict) for part in value):
        return [_numbers(value)], False
    if len(value) > 2 and all(isinstance(part, list) and len(part) == 2 for part in value):
        points = [_numbers(part) for part in value]
        if all(len(point) == 2 for point in points):
            return [list(itertools.chain.from_iterable(points))], True
    found = [_outlines(part, depth + 1) for part in value]
    return [polygon for polygons, _ in found for polygon in polygons], any(points for _, points in found)


def _numbers(value: Any) -> list[float]:
    try:
        return checked(value, list[float])
    except ValueError:
        return []


def _is_proper(polygon: list[float]) -> bool:
    return len(polygon) > 0 and len(polygon) % 2 == 0 and math.isfinite(sum(map(abs, polygon)))


def _mend_run_lengths(
    value: dict[str, Any], height: int, width: int, box: Box | None
) -> tuple[Segmentation | None, str]:
    counts, what = _counts(value.get("counts"))
    size = value.get("size", [height, width])
    if "size" not in value:
        what = "objects whose run lengths have no size (it is that of the image)"
    runs = run_lengths(counts)
    if not len(runs):
        return None, what
    if runs.min() < 0:
        raise ValueError("segmentation.counts: expected no run length below zero, found some")
    missing = height * width - int(runs.sum())
    if missing > 0:
        runs = np.append(runs, missing) if len(runs) % 2 == 0 else np.append(runs[:-1], runs[-1] + missing)
        what = "objects whose run lengths end too early (filled up with background)"
    if height != width and size == [width, height]:
        mended = _transposed(runs, height, width, box)
        what = "objects whose run lengths are of an image of [width, height] (transposed)"
    else:
        # It says what is wrong with a size of another image, and with runs that are too long.
        mended = read_run_lengths({"size": size, "counts": runs.tolist()}, height, width)
    if missing > 0 and mended is not None and box is not None and boxes_differ(box, extent(mended)):
        raise ValueError(
            f"its run lengths have {height * width - missing} pixels together, expected the {height * width} of its "
            "image; filled up with background, they would not be where its box is"
        )
    return mended, what


def _counts(counts: Any) -> tuple[Any, str]:
    """Run lengths out of the text that another tool printed them as, and what that was."""
    if isinstance(counts, str) and re.fullmatch(r"b'.*'|b\".*\"", counts):
        try:
            return ast.literal_eval(counts), "objects whose run lengths are the text of Python's bytes (b'…')"
        except (ValueError, SyntaxError):
            return counts, ""
    if isinstance(counts, str) and counts.startswith("["):
        try:
            return parse_json(counts), "objects whose list of run lengths is written as text"
        except ValueError:
            return counts, ""
    return counts, "objects whose run lengths are written in an unusual way"


def _transposed(runs: NDArray[np.int64], height: int, width: int, box: Box | None) -> Segmentation | None:
    """The mask [height, width] of run lengths that say they are of [width, height].

    Usually the mask was transposed before it was encoded, so that the runs go along the rows. If the box says so, it
    is the two numbers of the size alone that have changed places.
    """
    if int(runs.sum()) != height * width:
        raise ValueError(
            f"its run lengths have {int(runs.sum())} pixels together, expected the {height * width} of its image"
        )
    rows = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
    edges = np.flatnonzero(np.diff(rows.ravel(order="F"), prepend=0))
    by_column = np.diff(edges, prepend=0, append=height * width)
    size = [height, width]
    as_rows = read_run_lengths({"size": size, "counts": by_column.tolist()}, height, width)
    as_columns = read_run_lengths({"size": size, "counts": runs.tolist()}, height, width)
    if box is None or as_rows is None or as_columns is None:
        return as_rows
    return as_columns if _distance(box, extent(as_columns)) < _distance(box, extent(as_rows)) else as_rows


def _distance(first: Box, second: Box) -> float:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True))
