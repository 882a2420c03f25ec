"""Annotations in COCO format, checked while they are read."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from refinemask.data.findings import Finding
from refinemask.data.segmentation import MOST_PIXELS, Segmentation, read_segmentation
from refinemask.files import UserError
from refinemask.json_files import Id, checked, read_json, short

LARGEST = 1e30
"""No number of a box or area is larger, so that their products are finite and a box is one in single precision."""
Entry = TypeVar("Entry")
_ONE = {"images": "image", "categories": "category", "annotations": "annotation"}


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image entry; the size is that of the decoded picture, in pixels."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """An object; ``bbox`` is (x, y, width, height) and ``area`` square pixels, in the original image."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    segmentation: Segmentation
    iscrowd: bool


@dataclass(frozen=True)
class CocoDataset:
    """A checked annotation file."""

    path: Path
    """The annotation file."""
    images: tuple[CocoImage, ...]
    """Images in ascending order of their ids."""
    annotations: dict[int, tuple[CocoAnnotation, ...]]
    """The objects of each image id, in file order; an image without objects has an empty tuple."""
    categories: dict[int, str]
    """Category names by ascending id. A label is a category's position in this order."""
    findings: tuple[Finding, ...] = field(default=(), kw_only=True)
    """What the reader mended and left out."""
    incomplete: frozenset[int] = field(default=frozenset(), kw_only=True)
    """Ids of the images of which the reader left out an object, so that one without objects may still show some."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id of each label."""
        return tuple(self.categories)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The category name of each label."""
        return tuple(self.categories.values())

    @cached_property
    def labels(self) -> dict[int, int]:
        """The label of each category id."""
        return {category: label for label, category in enumerate(self.categories)}


def read_coco(path: str | os.PathLike[str]) -> CocoDataset:
    """Read a COCO annotation file (``images``, ``annotations``, ``categories``).

    Polygons of fewer than three points are left out, and so are objects without another polygon. The number of such
    objects is printed to standard error.

    Raises:
        UserError: the file cannot be read, is no JSON, or an entry is incomplete or refers to nothing.
    """
    return parse_coco(path, read_json_object(path))


def parse_coco(path: str | os.PathLike[str], content: dict[str, Any]) -> CocoDataset:
    """Check the content of a COCO annotation file; ``path`` is what errors name.

    Raises:
        UserError: an entry is incomplete or refers to nothing.
    """
    images = [CocoImage(e.id, e.file_name, e.height, e.width) for e in read_entries(path, content, "images", _Image)]
    named_categories = [(entry.id, str(entry.name)) for entry in read_entries(path, content, "categories", _Category)]
    _require_unique(path, "image", [image.id for image in images])
    _require_unique(path, "category", [category for category, _ in named_categories])
    categories = dict(sorted(named_categories))
    if not categories:
        raise UserError(f"{path}: its list 'categories' is empty, expected the classes to find")
    by_id = {image.id: image for image in images}
    by_image: dict[int, list[CocoAnnotation]] = {image.id: [] for image in images}
    degenerate = []
    incomplete = set()
    for entry in read_entries(path, content, "annotations", _Annotation):
        if entry.image_id not in by_id:
            raise UserError(f"{path}: annotation {entry.id} is of image {entry.image_id}, which is not listed")
        if entry.category_id not in categories:
            raise UserError(f"{path}: annotation {entry.id} is of category {entry.category_id}, which is not listed")
        try:
            annotation = _annotation(entry, by_id[entry.image_id])
        except ValueError as error:
            raise UserError(f"{path}: annotation {entry.id}: {error}") from error
        if annotation is None:
            degenerate.append(entry.id)
            incomplete.add(entry.image_id)
        else:
            by_image[entry.image_id].append(annotation)
    _report_degenerate(path, degenerate)
    return CocoDataset(
        path=Path(path),
        images=tuple(sorted(images, key=lambda image: image.id)),
        annotations={image_id: tuple(group) for image_id, group in by_image.items()},
        categories=categories,
        incomplete=frozenset(incomplete),
    )


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of an annotation file.

    Raises:
        UserError: the file cannot be read, or is no JSON object.
    """
    expected = "COCO annotations (an object with images, annotations and categories)"
    content = read_json(path, expected)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a JSON {type(content).__name__}, expected {expected}")
    return content


def read_entries(path: str | os.PathLike[str], content: dict[str, Any], key: str, kind: type[Entry]) -> Iterator[Entry]:
    """Every entry of the list ``key`` of an annotation file as a ``kind``, a dataclass of the fields that are read.

    Raises:
        UserError: there is no such list, or an entry lacks a field or has a value of another kind.
    """
    if not isinstance(content.get(key), list):
        found = short(sorted(content))
        raise UserError(f"{path}: has no list {key!r}, expected COCO annotations; found the keys {found}")
    for position, entry in enumerate(content[key]):
        try:
            yield checked(entry, kind)
        except ValueError as error:
            # "id: expected …" of the first level reads better behind a colon, "lacks 'id'" does not.
            separator = " " if str(error).startswith("lacks") else ": "
            raise UserError(f"{path}: {_named(key, position, entry)}{separator}{error}") from error


def _named(key: str, position: int, entry: Any) -> str:
    """What errors call an entry: by its id if it has one."""
    name = entry.get("id") if isinstance(entry, dict) else None
    # Not by an id that may be what is wrong with it.
    return f"{_ONE[key]} {name}" if isinstance(name, int) and abs(name) < 1 << 63 else f"entry {position} of {key!r}"


@dataclass(slots=True)
class _Image:
    id: Id
    file_name: str
    height: Id
    width: Id

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or self.height * self.width > MOST_PIXELS:
            raise ValueError(f"its size is {self.height}x{self.width}, expected 1 to {MOST_PIXELS} pixels")


@dataclass(slots=True)
class _Category:
    id: Id
    name: str | int | float | bool | None


@dataclass(slots=True)
class _Annotation:
    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    area: float
    segmentation: Any = None
    iscrowd: bool | float | None = False


def _annotation(entry: _Annotation, image: CocoImage) -> CocoAnnotation | None:
    """An object; None if its segmentation has no area."""
    # False for NaN, too.
    if not sum(map(abs, entry.bbox), abs(entry.area)) <= LARGEST:
        raise ValueError("its box or area has a number that is not finite, or too large for any image")
    if entry.iscrowd not in (0, 1, None):
        raise ValueError(f"iscrowd: expected 0 or 1, found {entry.iscrowd}")
    segmentation = read_segmentation(entry.segmentation, image.height, image.width)
    if segmentation is None:
        return None
    return CocoAnnotation(
        id=entry.id,
        image_id=entry.image_id,
        category_id=entry.category_id,
        bbox=entry.bbox,
        area=entry.area,
        segmentation=segmentation,
        iscrowd=bool(entry.iscrowd),
    )


def _report_degenerate(path: str | os.PathLike[str], ids: list[int]) -> None:
    if ids:
        print(
            f"skipped: {path}: {len(ids)} objects without a polygon of at least three points, "
            f"the first is annotation {ids[0]}",
            file=sys.stderr,
        )


def _require_unique(path: str | os.PathLike[str], kind: str, ids: list[int]) -> None:
    most_common = Counter(ids).most_common(1)
    if most_common and most_common[0][1] > 1:
        raise UserError(f"{path}: {kind} id {most_common[0][0]} occurs {most_common[0][1]} times")
