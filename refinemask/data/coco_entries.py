"""The entries of a COCO file one by one: as they should be, or mended where the right value is known."""

import itertools
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from refinemask.data.findings import Findings
from refinemask.data.segmentation import MOST_PIXELS
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.json_files import Id, Positive, checked, short

OTHER_NAMES = ("path", "filename", "fileName", "coco_url", "flickr_url", "url")
"""Fields in which other tools say what ``file_name`` says."""
NEW_NUMBERS = "(numbered anew; results name the new ids)"
AS_TEXT = "with a number that is written as text"
_ONE = {"images": "image", "categories": "category", "annotations": "annotation"}

Box = tuple[float, float, float, float]


class ImageEntry(msgspec.Struct, gc=False):
    """An image as it should be."""

    id: Id
    file_name: Annotated[str, msgspec.Meta(min_length=1)]
    height: Positive
    width: Positive

    def __post_init__(self) -> None:
        if self.height * self.width > MOST_PIXELS:
            raise ValueError(f"its size is {self.height}x{self.width}, expected 1 to {MOST_PIXELS} pixels")


class CategoryEntry(msgspec.Struct, gc=False):
    """A category as it should be."""

    id: Id
    name: str | int | float | bool
    supercategory: Any = None


class AnnotationEntry(msgspec.Struct, gc=False):
    """An object whose fields have the right types; what is None is missing and can be found otherwise."""

    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: Box | None = None
    area: float | None = None
    segmentation: Any = None
    iscrowd: bool | float | None = None


class Ids:
    """The ids of a list of entries as whole numbers: those that are none are numbered anew, by the smallest free."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self._free = _free_numbers(entries)
        self._new: dict[str, int] = {}

    def find(self, value: Any) -> int | None:
        """The number that a reference stands for; None if it is no number and no entry has it."""
        number = whole_number(value)
        return number if number is not None else self._new.get(_key(value))

    def alias(self, value: Any, number: int) -> None:
        """Let references to ``value`` find an entry's number, too."""
        self._new.setdefault(_key(value), number)

    def new(self, value: Any) -> int:
        """The number of an entry whose id is no number; references to ``value`` then find it."""
        if (key := _key(value)) not in self._new:
            self._new[key] = next(self._free)
        return self._new[key]

    def free(self) -> int:
        """A number that no entry has."""
        return next(self._free)


def _free_numbers(entries: Iterable[Any]) -> Iterator[int]:
    """The whole numbers from 1 on that no entry has for an id; entries are looked at when the first is asked for."""
    values = (entry.get("id") if isinstance(entry, dict) else getattr(entry, "id", None) for entry in entries)
    taken = {number for value in values if (number := whole_number(value)) is not None}
    yield from (number for number in itertools.count(1) if number not in taken)


def _key(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float) else ""


def whole_number(value: Any) -> int | None:
    """A whole number of 64 bits, which may be written as a float or as text; None if it is another value."""
    # As nearly all ids are written.
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", value) else None
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) and value == int(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def name_of(key: str, position: int, entry: Any) -> str:
    """What findings and errors call an entry: by its id if it has one."""
    name = entry.get("id") if isinstance(entry, dict) else getattr(entry, "id", None)
    # Not by an id that may be what is wrong with it.
    whole = isinstance(name, int) and abs(name) < 1 << 63
    return f"{_ONE[key]} {name}" if whole else f"entry {position} of {key!r}"


def image_entries(
    entries: Sequence[Any], ids: Ids, folder: str | os.PathLike[str] | None, findings: Findings
) -> Iterator[tuple[str, ImageEntry]]:
    """Every image with what errors call it; sizes that are missing are those of the files in ``folder``."""
    for position, entry in enumerate(entries):
        name = name_of("images", position, entry)
        if (image := _as_it_should_be(entry, ImageEntry)) is None:
            image = _mended_image(entry, name, ids, folder, findings)
        if image is not None:
            yield name, image


def category_entries(entries: Sequence[Any], ids: Ids, findings: Findings) -> Iterator[tuple[str, CategoryEntry]]:
    """Every category with what errors call it; one without a name is called by its id."""
    for position, entry in enumerate(entries):
        name = name_of("categories", position, entry)
        if (category := _as_it_should_be(entry, CategoryEntry)) is None:
            category = _mended_category(entry, name, ids, findings)
        if category is not None and not str(category.name).strip():
            findings.mended("categories without a name (it is the id)", name)
            category = CategoryEntry(category.id, str(category.id), category.supercategory)
        if category is not None:
            yield name, category


def annotation_entries(
    entries: Sequence[Any], image_ids: Ids, category_ids: Ids, findings: Findings
) -> Iterator[tuple[int, AnnotationEntry]]:
    """Every object with its position in the list."""
    for position, entry in enumerate(entries):
        annotation = entry if type(entry) is AnnotationEntry else _as_it_should_be(entry, AnnotationEntry)
        if annotation is None:
            name = name_of("annotations", position, entry)
            annotation = _mended_annotation(entry, name, image_ids, category_ids, findings)
        if annotation is not None:
            yield position, annotation


def _as_it_should_be(entry: Any, kind: type[msgspec.Struct]) -> Any:
    """The entry if all its fields are of the right types, else None."""
    if isinstance(entry, kind):
        return entry
    try:
        return checked(entry, kind, lax=False) if isinstance(entry, dict) else None
    except ValueError:
        return None


def _mended_image(
    entry: Any, name: str, ids: Ids, folder: str | os.PathLike[str] | None, findings: Findings
) -> ImageEntry | None:
    if not isinstance(entry, dict) or not _key(entry.get("id")):
        findings.left_out("images without an id, so that no object can be of them", name)
        return None
    if (file_name := _file_name(entry, name, findings)) is None:
        findings.left_out("images without a file_name", name)
        return None
    try:
        height, width = _size(entry, file_name, name, folder, findings)
    except ValueError as error:
        findings.left_out(str(error.args[0]), f"{name}{error.args[1]}")
        return None
    return ImageEntry(_number(entry["id"], "image", name, ids, findings), file_name, height, width)


def _number(value: Any, kind: str, name: str, ids: Ids, findings: Findings) -> int:
    number = whole_number(value)
    if number is None:
        findings.mended(f"{kind} ids that are no whole numbers {NEW_NUMBERS}", f"{short(value)}")
        return ids.new(value)
    if isinstance(value, str):
        findings.mended(f"{kind} ids that are written as text", name)
    return number


def _file_name(entry: dict[str, Any], name: str, findings: Findings) -> str | None:
    if isinstance(entry.get("file_name"), str) and entry["file_name"]:
        return entry["file_name"]
    for key in OTHER_NAMES:
        value = entry.get(key)
        if isinstance(value, str) and value:
            findings.mended(f"images without a file_name (taken from {key})", name)
            return _last_part(value) if "://" in value else value
    return None


def _last_part(url: str) -> str:
    try:
        return urlsplit(url).path.rsplit("/", 1)[-1] or url
    except ValueError:
        return url


def _size(
    entry: dict[str, Any], file_name: str, name: str, folder: str | os.PathLike[str] | None, findings: Findings
) -> tuple[int, int]:
    """The image's height and width.

    Raises:
        ValueError: there is none; its arguments are the words behind a number, and what is said of this image.
    """
    values = entry.get("height"), entry.get("width")
    height, width = map(whole_number, values)
    if height is not None and width is not None and min(height, width) >= 1 and height * width <= MOST_PIXELS:
        if any(isinstance(value, str) for value in values):
            findings.mended(f"images {AS_TEXT}", name)
        return height, width
    found = f" (height {short(values[0])}, width {short(values[1])})"
    if folder is None:
        raise ValueError("images without a size; give the folder of the images, from whose files it is read", found)
    # Image libraries are for files that lack sizes alone.
    from refinemask.data.annotated import locate
    from refinemask.data.image_kind import read_kind

    try:
        size = read_kind(locate(folder, file_name)).shape
    except UserError as error:
        raise ValueError("images without a size whose file does not tell it", f" ({one_line(error)})") from error
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"images of more than {MOST_PIXELS} pixels", f" ({size[0]}x{size[1]})")
    findings.mended("images without a size (it is that of the file)", f"{name}{found}")
    return size


def _mended_category(entry: Any, name: str, ids: Ids, findings: Findings) -> CategoryEntry | None:
    if not isinstance(entry, dict):
        findings.left_out("categories that are no objects", name)
        return None
    value, text = entry.get("id"), entry.get("name")
    if not _key(value):
        if not _key(text):
            findings.left_out("categories without an id and a name", name)
            return None
        # Objects may name their category then.
        value = text
    number = _number(value, "category", name, ids, findings)
    if not isinstance(text, str | int | float):
        findings.mended("categories without a name (it is the id)", name)
        text = value if isinstance(value, str) else str(number)
    return CategoryEntry(number, str(text), entry.get("supercategory"))


def _mended_annotation(
    entry: Any, name: str, image_ids: Ids, category_ids: Ids, findings: Findings
) -> AnnotationEntry | None:
    if not isinstance(entry, dict):
        findings.left_out("annotations that are no objects", name)
        return None
    image_id, category_id = image_ids.find(entry.get("image_id")), category_ids.find(entry.get("category_id"))
    if image_id is None or category_id is None:
        key = "image_id" if image_id is None else "category_id"
        findings.left_out(f"objects whose {key} names none of the file's", f"{name} ({short(entry.get(key))})")
        return None
    if any(isinstance(entry.get(key), str) for key in ("image_id", "category_id")):
        findings.mended("objects that name their image or category by text", name)
    read: dict[str, Any] = {
        "id": whole_number(entry.get("id")),
        "bbox": _value(entry.get("bbox"), Box),
        "area": _value(entry.get("area"), float),
        "iscrowd": _value(entry.get("iscrowd"), bool | float),
    }
    if any(value is not None and _has_text(entry.get(key)) for key, value in read.items()):
        findings.mended(f"objects {AS_TEXT}", name)
    if read["iscrowd"] is None and entry.get("iscrowd") is not None:
        findings.mended("objects whose iscrowd is neither 0 nor 1 (taken as 0)", f"{name} ({short(entry['iscrowd'])})")
        read["iscrowd"] = False
    return AnnotationEntry(
        image_id=image_id,
        category_id=category_id,
        segmentation=entry.get("segmentation"),
        **read,
    )


def _has_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and any(isinstance(part, str) for part in value))


def _value(value: Any, kind: Any) -> Any:
    """A value, which may be written as text; None if it is of another kind."""
    try:
        return None if value is None else checked(value, kind)
    except ValueError:
        return None
