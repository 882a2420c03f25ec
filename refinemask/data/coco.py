"""Annotations in COCO format: what is odd about an entry is mended or left out, and counted."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from refinemask.data.coco_entries import (
    AnnotationEntry,
    Box,
    CategoryEntry,
    Ids,
    ImageEntry,
    annotation_entries,
    category_entries,
    image_entries,
    whole_number,
)
from refinemask.data.coco_file import LISTS, read_lists, require_list, without_garbage_collection
from refinemask.data.coco_hints import add_hints
from refinemask.data.findings import Finding, Findings, print_findings
from refinemask.data.mended_segmentation import mend_segmentation
from refinemask.data.segmentation import Segmentation, extent, read_segmentation
from refinemask.files import UserError
from refinemask.masks import segmentation_rle

LARGEST = 1e30
"""No number of a box or area is larger, so that their products are finite and a box is one in single precision."""
NO_MASK = "objects without a polygon of at least three points, and without run lengths"
Listed = TypeVar("Listed", ImageEntry, CategoryEntry)


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


def read_coco(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, *, crowd_as_object: bool = False
) -> CocoDataset:
    """Read a COCO annotation file (``images``, ``annotations``, ``categories``).

    What follows from the rest of the file is computed, and what cannot be used is left out. Both are counted in the
    data set's ``findings``, of which each is printed to standard error. Polygons of fewer than three points are left
    out, and so are objects without another one.

    Args:
        path: the annotation file.
        images: folder of the image files, which tell the sizes that the annotations lack; None if it is not known.
        crowd_as_object: whether what is marked as a crowd is one object.

    Raises:
        UserError: the file cannot be read, is no JSON or no COCO file, or nothing in it can be used.
    """
    with without_garbage_collection():
        return parse_coco(path, read_lists(path), images, crowd_as_object=crowd_as_object)


def parse_coco(
    path: str | os.PathLike[str],
    content: dict[str, Any],
    images: str | os.PathLike[str] | None = None,
    *,
    crowd_as_object: bool = False,
) -> CocoDataset:
    """Read the content of a COCO annotation file as :func:`read_coco` does; ``path`` is what errors name.

    Raises:
        UserError: it is no COCO file, or nothing in it can be used.
    """
    for key in LISTS:
        require_list(path, content, key)
    findings = Findings()
    image_ids, category_ids = Ids(content["images"]), Ids(content["categories"])
    by_id = _read_images(content, image_ids, images, findings)
    categories = _read_categories(content, category_ids, findings)
    _require_some(path, content, "images", by_id, findings)
    _require_some(path, content, "categories", categories, findings)
    if not categories:
        raise UserError(f"{path}: its list 'categories' is empty, expected the classes to find")
    entries = annotation_entries(content["annotations"], image_ids, category_ids, findings)
    ids = Ids(content["annotations"])
    annotations = _read_annotations(entries, by_id, categories, ids, findings, crowd_as_object)
    if content["annotations"] and not annotations:
        _note_nothing_left(findings, len(content["annotations"]))
    add_hints(findings, by_id, list(categories.values()), annotations)
    print_findings(path, findings)
    by_image: dict[int, list[CocoAnnotation]] = {number: [] for number in by_id}
    for annotation in annotations:
        by_image[annotation.image_id].append(annotation)
    return CocoDataset(
        path=Path(path),
        images=tuple(by_id[number] for number in sorted(by_id)),
        annotations={number: tuple(group) for number, group in by_image.items()},
        categories={number: str(categories[number].name) for number in sorted(categories)},
        findings=tuple(findings),
        incomplete=_incomplete(content["annotations"], image_ids, by_image, findings),
    )


def _read_images(
    content: dict[str, Any], ids: Ids, folder: str | os.PathLike[str] | None, findings: Findings
) -> dict[int, CocoImage]:
    """The images by id, in file order."""
    entries = image_entries(content["images"], ids, folder, findings)
    unique = _unique(entries, "image", findings, lambda image: (image.file_name, image.height, image.width))
    return {entry.id: CocoImage(entry.id, entry.file_name, entry.height, entry.width) for entry in unique}


def _read_annotations(
    entries: Iterable[tuple[int, AnnotationEntry]],
    images: Mapping[int, CocoImage],
    categories: Collection[int],
    ids: Ids,
    findings: Findings,
    crowd_as_object: bool,
) -> list[CocoAnnotation]:
    """The objects that can be used, in file order."""
    annotations = []
    for position, entry in entries:
        name = _Name(position, entry)
        image = images.get(entry.image_id)
        if image is None or entry.category_id not in categories:
            what = f"image {entry.image_id}" if image is None else f"category {entry.category_id}"
            kind = "an image" if image is None else "a category"
            findings.left_out(f"objects of {kind} that is not listed, or left out", f"{name} (of {what})")
        elif (annotation := _annotation(entry, image, name, ids, findings, crowd_as_object)) is not None:
            annotations.append(annotation)
    return annotations


def _incomplete(
    entries: Iterable[Any], ids: Ids, kept: Mapping[int, Collection[CocoAnnotation]], findings: Findings
) -> frozenset[int]:
    """Ids of the images that have fewer objects than entries name them."""
    if not any(finding.kind == "left out" for finding in findings):
        return frozenset()
    values = (e.get("image_id") if isinstance(e, dict) else getattr(e, "image_id", None) for e in entries)
    named = Counter(map(ids.find, values))
    return frozenset(number for number, group in kept.items() if len(group) < named[number])


def _read_categories(content: dict[str, Any], ids: Ids, findings: Findings) -> dict[int, CategoryEntry]:
    """The categories by id; objects may also refer to a category by a name that no other has."""
    if not content["categories"]:
        return _categories_of(content["annotations"], findings)
    entries = category_entries(content["categories"], ids, findings)
    categories = {e.id: e for e in _unique(entries, "category", findings, lambda category: str(category.name))}
    names = Counter(str(category.name) for category in categories.values())
    for category in categories.values():
        if names[str(category.name)] == 1:
            ids.alias(category.name, category.id)
    return categories


def _categories_of(annotations: Sequence[Any], findings: Findings) -> dict[int, CategoryEntry]:
    """The categories that the objects are of, called by their ids, for files that list none."""
    values = [a.get("category_id") if isinstance(a, dict) else getattr(a, "category_id", None) for a in annotations]
    numbers = sorted({number for value in values if (number := whole_number(value)) is not None})
    for number in numbers:
        findings.mended("categories that are not listed (their names are the ids that objects have)", str(number))
    return {number: CategoryEntry(number, str(number)) for number in numbers}


def _unique(
    entries: Iterable[tuple[str, Listed]], kind: str, findings: Findings, content: Callable[[Listed], Any]
) -> list[Listed]:
    """The entries; of equal ones the first, and none of those that share an id and differ."""
    by_id: dict[int, Listed] = {}
    ambiguous = set()
    for name, entry in entries:
        other = by_id.setdefault(entry.id, entry)
        if other is not entry and content(other) == content(entry):
            findings.mended(f"{kind} entries that repeat another one (taken once)", name)
        elif other is not entry and entry.id not in ambiguous:
            findings.left_out(f"{kind} ids of several different entries (all of them, and their objects)", name)
            ambiguous.add(entry.id)
    return [entry for number, entry in by_id.items() if number not in ambiguous]


def _require_some(
    path: str | os.PathLike[str], content: Mapping[str, Any], key: str, kept: Collection[int], findings: Findings
) -> None:
    """Raise a UserError if a list of the file has entries and none of them can be used."""
    if content[key] and not kept:
        causes = [f"; {finding}" for finding in findings if finding.kind == "left out"]
        raise UserError(f"{path}: its list {key!r} has no entry that can be used{''.join(causes[:1])}")


def _note_nothing_left(findings: Findings, count: int) -> None:
    maskless = sum(finding.count for finding in findings if finding.what == NO_MASK)
    if maskless == count:
        findings.note(
            "objects are all that there are, and none has a mask: nothing can be learnt or measured; draw their "
            "outlines, or make masks from the boxes with a model that segments what is in a box",
            "the first of the file",
            count,
        )


class _Name(NamedTuple):
    """What findings call an object, written when it is needed."""

    position: int
    entry: AnnotationEntry

    def __str__(self) -> str:
        number = self.entry.id
        return f"entry {self.position} of 'annotations'" if number is None else f"annotation {number}"


def _annotation(
    entry: AnnotationEntry, image: CocoImage, name: _Name, ids: Ids, findings: Findings, crowd_as_object: bool
) -> CocoAnnotation | None:
    """An object; None if it has no mask."""
    box = entry.bbox if entry.bbox is not None and _is_box(entry.bbox) else None
    segmentation = _segmentation(entry.segmentation, image, box, name, findings)
    if segmentation is None:
        return None
    if box is None:
        findings.mended("objects without a box of four finite numbers (it is that of the mask)", str(name))
        box = extent(segmentation)
    area = entry.area
    # False for NaN, too. Area 0 is kept, because evaluators that others compare with count by it.
    if area is None or not 0 <= area <= LARGEST:
        findings.mended("objects without an area (it is that of the mask)", str(name))
        area = _mask_area(segmentation, image)
    # LVIS has no iscrowd, so that its absence is nothing odd.
    if entry.iscrowd not in (0, 1, None):
        findings.mended("objects whose iscrowd is neither 0 nor 1 (taken as 1)", f"{name} ({entry.iscrowd})")
    if entry.iscrowd and crowd_as_object:
        findings.mended("objects marked as crowds (--crowd-as-object)", str(name))
    if entry.id is None:
        findings.mended("objects without an id that is a whole number (numbered anew)", str(name))
    return CocoAnnotation(
        id=ids.free() if entry.id is None else entry.id,
        image_id=entry.image_id,
        category_id=entry.category_id,
        bbox=box,
        area=area,
        segmentation=segmentation,
        iscrowd=bool(entry.iscrowd) and not crowd_as_object,
    )


def _is_box(box: Box) -> bool:
    # False for NaN, too.
    return sum(map(abs, box)) <= LARGEST and box[2] >= 0 and box[3] >= 0


def _mask_area(segmentation: Segmentation, image: CocoImage) -> float:
    from pycocotools import mask as coco_mask

    return float(coco_mask.area(segmentation_rle(segmentation, image.height, image.width)))


def _segmentation(
    value: Any, image: CocoImage, box: Box | None, name: _Name, findings: Findings
) -> Segmentation | None:
    """An object's mask; None if it has none that can be read, which is counted."""
    try:
        segmentation = read_segmentation(value, image.height, image.width)
        if isinstance(value, list) and segmentation is not None and not isinstance(value[0], list):
            findings.mended("objects whose polygon is not in a list of polygons", str(name))
    except ValueError:
        try:
            segmentation, what = mend_segmentation(value, image.height, image.width, box)
        except ValueError as error:
            findings.left_out("objects whose segmentation cannot be read", f"{name} ({error})")
            return None
        findings.mended(what, str(name))
    if segmentation is None:
        findings.left_out(NO_MASK, str(name))
    return segmentation
