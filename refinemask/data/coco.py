"""Annotations in COCO format, checked while they are read."""

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from refinemask.files import UserError

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons, each ``[x0, y0, x1, y1, …]``, or a run-length encoding ``{"size": [h, w], "counts": …}``."""


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
    images = parse_list(path, content, "images", _image)
    named_categories = parse_list(path, content, "categories", lambda entry: (int(entry["id"]), str(entry["name"])))
    annotations = parse_list(path, content, "annotations", _annotation)
    _require_unique(path, "image", [image.id for image in images])
    _require_unique(path, "category", [category for category, _ in named_categories])
    categories = dict(sorted(named_categories))
    if not categories:
        raise UserError(f"{path}: its list 'categories' is empty, expected the classes to find")
    _report_degenerate(path, [annotation.id for annotation in annotations if not annotation.segmentation])
    sizes = {image.id: [image.height, image.width] for image in images}
    by_image: dict[int, list[CocoAnnotation]] = {image.id: [] for image in images}
    for annotation in annotations:
        if annotation.image_id not in by_image:
            raise UserError(
                f"{path}: annotation {annotation.id} is of image {annotation.image_id}, which is not listed"
            )
        if annotation.category_id not in categories:
            raise UserError(
                f"{path}: annotation {annotation.id} is of category {annotation.category_id}, which is not listed"
            )
        if annotation.segmentation:
            by_image[annotation.image_id].append(annotation)
        _require_size(path, annotation, sizes[annotation.image_id])
    return CocoDataset(
        path=Path(path),
        images=tuple(sorted(images, key=lambda image: image.id)),
        annotations={image_id: tuple(group) for image_id, group in by_image.items()},
        categories=categories,
    )


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of an annotation file.

    Raises:
        UserError: the file cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: holds a JSON {type(content).__name__}, expected COCO annotations "
            "(an object with images, annotations and categories)"
        )
    return content


def parse_list(
    path: str | os.PathLike[str], content: dict[str, Any], key: str, parse: Callable[[Any], Any]
) -> list[Any]:
    """Apply ``parse`` to every entry of the list ``key`` of an annotation file.

    Raises:
        UserError: there is no such list, or ``parse`` raises a KeyError, TypeError, ValueError or AttributeError.
    """
    if not isinstance(content.get(key), list):
        raise UserError(f"{path}: has no list {key!r}, expected COCO annotations; found the keys {sorted(content)}")
    parsed = []
    for position, entry in enumerate(content[key]):
        try:
            parsed.append(parse(entry))
        except KeyError as error:
            raise UserError(f"{path}: entry {position} of {key!r} lacks {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: entry {position} of {key!r} is malformed: {error}") from error
    return parsed


def _image(entry: dict[str, Any]) -> CocoImage:
    image = CocoImage(int(entry["id"]), str(entry["file_name"]), int(entry["height"]), int(entry["width"]))
    if min(image.height, image.width) < 1:
        raise ValueError(f"its size is {image.height}x{image.width}")
    return image


def _annotation(entry: dict[str, Any]) -> CocoAnnotation:
    x, y, width, height = (float(value) for value in entry["bbox"])
    segmentation = entry["segmentation"]
    if isinstance(segmentation, dict):
        if not {"size", "counts"} <= segmentation.keys():
            raise ValueError("its run-length segmentation needs 'size' and 'counts'")
    elif any(len(polygon) % 2 for polygon in segmentation):
        raise ValueError("a polygon of its segmentation has an odd number of coordinates")
    else:
        segmentation = [polygon for polygon in segmentation if len(polygon) >= 6]
    area = float(entry["area"])
    polygons = segmentation if isinstance(segmentation, list) else []
    # A sum takes nothing but numbers, and is finite only if all are. Checking each number is too slow for COCO.
    if not math.isfinite(sum(map(sum, [(x, y, width, height, area), *polygons]))):
        raise ValueError("its box, area or segmentation has a number that is not finite")
    return CocoAnnotation(
        id=int(entry["id"]),
        image_id=int(entry["image_id"]),
        category_id=int(entry["category_id"]),
        bbox=(x, y, width, height),
        area=area,
        segmentation=segmentation,
        iscrowd=bool(entry.get("iscrowd", 0)),
    )


def _require_size(path: str | os.PathLike[str], annotation: CocoAnnotation, size: list[int]) -> None:
    if isinstance(annotation.segmentation, dict) and list(annotation.segmentation["size"]) != size:
        raise UserError(
            f"{path}: the run lengths of annotation {annotation.id} are of an image of the size "
            f"{annotation.segmentation['size']}, its image {annotation.image_id} has the height and width {size}"
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
