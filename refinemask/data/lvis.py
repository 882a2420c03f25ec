"""LVIS v0.5 and v1 annotations, and the sampling of its rare categories (Gupta et al., LVIS, CVPR 2019)."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from refinemask.data.coco import CocoDataset, parse_coco
from refinemask.data.coco_file import read_entries, read_json_object, without_garbage_collection
from refinemask.files import UserError
from refinemask.json_files import Id, short

FREQUENCIES = ("r", "c", "f")
"""Rare, common and frequent: a category in at most 10, at most 100, or more training images."""


@dataclass(frozen=True)
class LvisDataset(CocoDataset):
    """A checked LVIS file. A category that an image neither shows nor lists as negative is unknown, not absent."""

    frequencies: dict[int, str]
    """``r``, ``c`` or ``f`` of each category id."""
    negative: dict[int, frozenset[int]]
    """The categories verified to be absent from each image id."""
    not_exhaustive: dict[int, frozenset[int]]
    """The categories of which each image id may have more objects than are annotated."""


def read_lvis(path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> LvisDataset:
    """Read an LVIS annotation file, or the COCO categories of one (``refinemask.evaluation.ap_star``).

    LVIS takes its images, those of val too, from both folders of COCO 2017. So ``file_name`` is ``train2017/….jpg`` or
    ``val2017/….jpg``, relative to where the folders are, whatever the file itself says (v0.5 has names of COCO 2014).
    What is odd about sizes and objects is mended or left out as :func:`refinemask.data.coco.read_coco` does; what LVIS
    adds must be as it should be, because a metric without it would be wrong.

    Args:
        path: the annotation file.
        images: folder of the image files, which tell the sizes that the annotations lack; None if it is not known.

    Raises:
        UserError: the file cannot be read, is no LVIS file, an entry lacks what LVIS adds, or nothing can be used.
    """
    with without_garbage_collection():
        return parse_lvis(path, read_json_object(path), images)


def parse_lvis(
    path: str | os.PathLike[str], content: dict[str, Any], images: str | os.PathLike[str] | None = None
) -> LvisDataset:
    """Read the content of an LVIS annotation file as :func:`read_lvis` does; ``path`` is what errors name.

    Raises:
        UserError: it is no LVIS file, an entry lacks what LVIS adds, or nothing can be used.
    """
    _require_negatives(path, content)
    entries = list(read_entries(path, content, "images", _Image))
    frequencies = {entry.id: entry.frequency for entry in read_entries(path, content, "categories", _Category)}
    located = [
        {**entry, "file_name": "/".join(image.coco_url.split("/")[-2:])}
        for entry, image in zip(content["images"], entries, strict=True)
    ]
    coco = parse_coco(path, {**content, "images": located}, images)
    if unknown := coco.categories.keys() - frequencies.keys():
        raise UserError(f"{path}: does not list category {min(unknown)}, expected all categories and their frequencies")
    return LvisDataset(
        **vars(coco),
        frequencies=frequencies,
        negative={image.id: frozenset(image.neg_category_ids) for image in entries},
        not_exhaustive={image.id: frozenset(image.not_exhaustive_category_ids) for image in entries},
    )


@dataclass(slots=True)
class _Image:
    id: Id
    coco_url: str
    neg_category_ids: list[Id]
    not_exhaustive_category_ids: list[Id]


@dataclass(slots=True)
class _Category:
    id: Id
    frequency: str

    def __post_init__(self) -> None:
        if self.frequency not in FREQUENCIES:
            raise ValueError(f"its frequency is {short(self.frequency)}, expected r, c or f")


def _require_negatives(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Raise a UserError if the images are those of a COCO file, which lists no absent categories."""
    images = content.get("images")
    if isinstance(images, list) and images and isinstance(images[0], dict) and "neg_category_ids" not in images[0]:
        raise UserError(f"{path}: its images have no 'neg_category_ids', expected the annotations of LVIS v0.5 or v1")


def repeat_factors(image_categories: Sequence[Iterable[int]], threshold: float = 0.001) -> list[int]:
    """How often each image appears in an epoch, so that rare categories are seen more (section 4.2 there, appendix B).

    A category in a fraction ``f`` of the images asks for ``max(1, sqrt(threshold / f))`` appearances. An image follows
    its most demanding category, rounded up as in the official model; the paper draws at random.

    Args:
        image_categories: the category ids of each image's objects.
        threshold: categories in a larger fraction of the images are not repeated.

    Returns:
        One factor of at least 1 per image.
    """
    categories = [set(ids) for ids in image_categories]
    images_with = Counter(category for ids in categories for category in ids)
    factors = {c: math.sqrt(threshold / (count / len(categories))) for c, count in images_with.items()}
    return [max([1, *(math.ceil(factors[category]) for category in ids)]) for ids in categories]
