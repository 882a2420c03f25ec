"""What a segmentation in COCO's format is: polygons or run lengths, checked while they are read."""

import math
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from refinemask.coco_strings import coco_runs
from refinemask.json_files import checked, short
from refinemask.masks import compress, without_empty_runs
from refinemask.polygons import FAR, near_image, outline_length

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons, each ``[x0, y0, x1, y1, …]``, or a run-length encoding ``{"size": [h, w], "counts": …}``."""
MOST_PIXELS = 1 << 28
"""Pixels of the largest image that is annotated, more than those of the largest that is read: ``pycocotools`` counts
fifths of a pixel, and the differences of run lengths, in 32 bits."""
LONGEST_OUTLINE = 1 << 22
"""Pixels of the longest outline that is rasterised, which takes some hundred bytes for each."""
POLYGONS = "[[x0, y0, x1, y1, …], …]"

_RunLength = Annotated[int, msgspec.Meta(ge=0, le=MOST_PIXELS)]


def read_segmentation(value: Any, height: int, width: int) -> Segmentation | None:
    """The segmentation of an object in an image of that size; None if it has no area.

    No area have null, a list without a polygon of at least three points, and run lengths without a run. Polygons of
    fewer points are left out. A single polygon may stand without its list.

    Raises:
        ValueError: it is malformed; the message says where.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return read_run_lengths(value, height, width)
    if isinstance(value, list):
        return _read_polygons(value, height, width) or None
    raise ValueError(f"segmentation: expected polygons or run lengths, found {short(value)}")


def _read_polygons(value: list[Any], height: int, width: int) -> list[list[float]]:
    """The polygons of at least three points."""
    if value and isinstance(value[0], int | float):
        value = [value]
    polygons = []
    for polygon in value:
        try:
            # A sum takes nothing but numbers, and is finite only if all are. Checking each is too slow for COCO.
            ordinary = isinstance(polygon, list) and math.isfinite(sum(polygon))
        except (TypeError, OverflowError):
            ordinary = False
        if not ordinary:
            _require_numbers(value)
        if len(polygon) % 2:
            raise ValueError("a polygon of its segmentation has an odd number of coordinates")
        if len(polygon) >= 6:
            polygons.append(_near_image(polygon, height, width))
    if not polygons and len(value) > 2 and all(len(polygon) == 2 for polygon in value):
        raise ValueError(f"segmentation: expected polygons {POLYGONS}, found a list of points [[x, y], …]")
    return polygons


def _require_numbers(value: list[Any]) -> None:
    try:
        polygons = checked(value, list[list[float]], lax=False)
    except ValueError as error:
        raise ValueError(f"segmentation{error}; expected polygons {POLYGONS} or run lengths") from error
    if not all(math.isfinite(number) for polygon in polygons for number in polygon):
        raise ValueError("its segmentation has a number that is not finite")


def _near_image(polygon: list[float], height: int, width: int) -> list[float]:
    """The polygon itself, or its part near the image if it reaches far."""
    if max(max(polygon), -min(polygon)) <= FAR / len(polygon):
        return polygon
    _require_numbers([polygon])
    near = near_image(np.array(polygon, np.float64), height, width)
    if (length := outline_length(near)) > LONGEST_OUTLINE:
        raise ValueError(f"the outline of a polygon has {length:.0f} pixels, expected at most {LONGEST_OUTLINE}")
    return near.tolist()


def extent(segmentation: Segmentation) -> tuple[float, float, float, float]:
    """The box (x, y, width, height) of a segmentation that was read: of all its corners, or of all its pixels."""
    if isinstance(segmentation, list):
        left = min(min(polygon[0::2]) for polygon in segmentation)
        top = min(min(polygon[1::2]) for polygon in segmentation)
        right = max(max(polygon[0::2]) for polygon in segmentation)
        bottom = max(max(polygon[1::2]) for polygon in segmentation)
        return float(left), float(top), float(right - left), float(bottom - top)
    return _extent_of_runs(run_lengths(segmentation["counts"]), segmentation["size"][0])


def _extent_of_runs(runs: NDArray[np.int64], height: int) -> tuple[float, float, float, float]:
    # Annotations are read where pycocotools is not installed, too.
    edges, even = runs.cumsum(), len(runs) // 2 * 2
    starts, ends = edges[0:even:2], edges[1:even:2]
    starts, last = starts[ends > starts], ends[ends > starts] - 1
    if not len(starts):
        return 0.0, 0.0, 0.0, 0.0
    left, right = int(starts[0]) // height, int(last[-1]) // height
    # A run that goes on in the next column touches the lower side of the one and the upper side of the other.
    wraps = bool((starts // height < last // height).any())
    top, bottom = (0, height - 1) if wraps else (int((starts % height).min()), int((last % height).max()))
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)


def read_run_lengths(value: Any, height: int, width: int) -> dict[str, Any] | None:
    """The run lengths of a mask of that size, as a list or as COCO's string; None if there is no run.

    Raises:
        ValueError: they are malformed, of another size, or do not fill the image.
    """
    if not isinstance(value, dict) or not {"size", "counts"} <= value.keys():
        raise ValueError("its run-length segmentation needs 'size' and 'counts'")
    try:
        size = checked(value["size"], list[int])
    except ValueError as error:
        raise ValueError(f"segmentation.size: {error}") from error
    if size != [height, width]:
        raise ValueError(
            f"its run lengths are of an image of the size {short(size)}, its image has the height and width "
            f"{[height, width]}"
        )
    counts = value["counts"]
    runs = run_lengths(counts)
    if not len(runs):
        return None
    if runs.min() < 0:
        raise ValueError("segmentation.counts: expected no run length below zero, found some")
    if (total := int(runs.sum())) != height * width:
        raise ValueError(
            f"its run lengths have {total} pixels together, expected the {height * width} of its image "
            f"({height}x{width}), background included"
        )
    if not runs[1:].all():
        return dict(compress(without_empty_runs(runs), height, width))
    return {"size": size, "counts": counts if isinstance(counts, str | bytes) else runs.tolist()}


def run_lengths(counts: Any) -> NDArray[np.int64]:
    """The run lengths that a list or COCO's string of them stands for.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(counts, str | bytes):
        string = counts.encode(errors="surrogatepass") if isinstance(counts, str) else counts
        try:
            return coco_runs(string)
        except ValueError as error:
            raise ValueError(f"segmentation.counts: expected COCO's compressed run lengths, found {error}") from error
    try:
        return np.array(checked(counts, list[_RunLength]), np.int64)
    except ValueError as error:
        place = "" if str(error).startswith("[") else ": "
        raise ValueError(f"segmentation.counts{place}{error}; expected run lengths or COCO's string of them") from error
