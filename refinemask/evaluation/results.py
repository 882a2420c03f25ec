"""Entries of COCO's results format, checked while they are read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refinemask.coco_strings import fill_image
from refinemask.data.coco import LARGEST
from refinemask.data.segmentation import read_segmentation
from refinemask.files import UserError
from refinemask.json_files import Id, checked
from refinemask.masks import RLE, segmentation_rle
from refinemask.structures import Result

REQUIRED = ("bbox", "segmentation")
"""What an entry must have beside its category and score."""


@dataclass(slots=True)
class _Entry:
    category_id: Id
    score: float
    bbox: tuple[float, float, float, float] | None = None


@dataclass(slots=True)
class _Compressed:
    size: tuple[int, int]
    counts: str


def read_results(entries: Any, height: int, width: int, where: str, required: Sequence[str] = REQUIRED) -> list[Result]:
    """The detections of one image, whose masks are compressed run lengths that fill it.

    Args:
        entries: a list of entries of COCO's results format; more keys than those of ``Result`` stay.
        height: height of the image in pixels.
        width: width of the image in pixels.
        where: what the errors begin with, such as the file and the image.
        required: which of ``bbox`` and ``segmentation`` every entry must have; masks are read only if required.

    Raises:
        UserError: an entry lacks something, or has a value of another kind, range or size.
    """
    if not isinstance(entries, list | tuple):
        raise UserError(f"{where}: expected a list of results, found {type(entries).__name__}")
    masks = "segmentation" in required and not _masks_are_whole(entries, height, width)
    if not masks and (plain := _read_plain(entries, required)) is not None:
        return plain
    results = []
    for position, entry in enumerate(entries):
        try:
            try:
                result = _read_result(entry, required)
            except ValueError:
                # Only what is no JSON is copied, so that results from files are read quickly.
                result = _read_result(_without_arrays(entry), required)
            if masks:
                result["segmentation"] = _read_mask(result["segmentation"], height, width)
        except ValueError as error:
            raise UserError(f"{where}: result {position}: {error}") from error
        results.append(result)
    return results


def _read_plain(entries: Sequence[Any], required: Sequence[str]) -> list[Result] | None:
    """The entries as they are, if nothing about them needs a change or an error; all at once takes a third of the time.

    Their masks are not looked at.
    """
    try:
        known = checked(entries, list[_Entry], lax=False)
    except ValueError:
        return None
    boxes = [each.bbox for each in known if each.bbox is not None]
    if "bbox" in required and len(boxes) < len(known):
        return None
    sizes = np.abs(np.array(boxes).reshape(-1, 4)).sum(1)
    if not (np.isfinite([each.score for each in known]).all() and (sizes <= LARGEST).all()):
        return None
    return list(entries)


def _masks_are_whole(entries: Sequence[Any], height: int, width: int) -> bool:
    """Whether all masks are compressed run lengths that fill the image, as those of this project are."""
    try:
        masks = [checked(entry["segmentation"], _Compressed, lax=False) for entry in entries]
    except (ValueError, LookupError, TypeError):
        return False
    strings = [each.counts.encode("ascii", "replace") for each in masks]
    return all(each.size == (height, width) for each in masks) and fill_image(strings, height * width)


def _read_mask(value: Any, height: int, width: int) -> RLE:
    segmentation = read_segmentation(_without_arrays(value), height, width)
    if segmentation is None:
        raise ValueError("segmentation: expected a mask, found nothing")
    return segmentation_rle(segmentation, height, width)


def _read_result(entry: Any, required: Sequence[str]) -> Result:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an entry of COCO's results, found {type(entry).__name__}")
    if missing := [key for key in required if entry.get(key) is None]:
        raise ValueError(f"lacks {missing[0]!r}")
    known = checked(entry, _Entry)
    if not math.isfinite(known.score):
        raise ValueError(f"score: expected a finite number, found {known.score}")
    result = {**entry, "category_id": known.category_id, "score": known.score}
    if known.bbox is not None:
        if not sum(map(abs, known.bbox)) <= LARGEST:
            raise ValueError(f"bbox: expected finite numbers, found {list(known.bbox)}")
        result["bbox"] = list(known.bbox)
    return result


def _without_arrays(value: Any) -> Any:
    """A copy in which arrays and scalars of NumPy or PyTorch, which are no JSON, are lists and numbers."""
    if isinstance(value, dict):
        return {key: _without_arrays(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value
