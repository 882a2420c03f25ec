"""A COCO annotation file as JSON: its three lists, and what is said of a file without them."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from refinemask.data.coco_entries import AnnotationEntry, CategoryEntry, ImageEntry, name_of
from refinemask.data.foreign_annotations import looks_like, yolo
from refinemask.files import UserError
from refinemask.json_files import checked, decode_json, read_json, short

EXPECTED = "COCO annotations (an object with images, annotations and categories)"
LISTS = ("images", "categories", "annotations")
Entry = TypeVar("Entry")


class _ImageEntry(ImageEntry, gc=False):
    """An image of COCO; one of LVIS has more, so that its file is read as any JSON."""

    neg_category_ids: msgspec.UnsetType = msgspec.UNSET


class _Content(msgspec.Struct):
    images: list[_ImageEntry]
    categories: list[CategoryEntry]
    annotations: list[AnnotationEntry]


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Within the block Python does not look for garbage.

    There is none while millions of lists are made of a file, and to look through all of them again and again takes as
    long as the reading.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_lists(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The three lists of an annotation file: of entries as they should be if all are so, or else of what JSON gives.

    A file without any oddity is so read in half the time and memory.

    Raises:
        UserError: the file cannot be read, or is no JSON object.
    """
    content = decode_json(path, _Content)
    return read_json_object(path) if content is None else {key: getattr(content, key) for key in LISTS}


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of an annotation file.

    Raises:
        UserError: the file cannot be read, or is no JSON object.
    """
    if advice := yolo(os.fspath(path)):
        raise UserError(f"{path}: {advice}")
    content = read_json(path, EXPECTED)
    if not isinstance(content, dict):
        found = f"holds a JSON {type(content).__name__}, expected {EXPECTED}"
        raise UserError("; ".join(filter(None, (f"{path}: {found}", looks_like(content)))))
    return content


def require_list(path: str | os.PathLike[str], content: dict[str, Any], key: str) -> None:
    """Raise a UserError unless the content of an annotation file has the list ``key``."""
    if not isinstance(content.get(key), list):
        advice = looks_like(content) or f"found the keys {short(sorted(content))}"
        raise UserError(f"{path}: has no list {key!r}, expected COCO annotations; {advice}")


def read_entries(path: str | os.PathLike[str], content: dict[str, Any], key: str, kind: type[Entry]) -> Iterator[Entry]:
    """Every entry of the list ``key`` of an annotation file as a ``kind``, a dataclass of the fields that are read.

    Raises:
        UserError: there is no such list, or an entry lacks a field or has a value of another kind.
    """
    require_list(path, content, key)
    for position, entry in enumerate(content[key]):
        try:
            yield checked(entry, kind)
        except ValueError as error:
            # "id: expected …" of the first level reads better behind a colon, "lacks 'id'" does not.
            separator = " " if str(error).startswith("lacks") else ": "
            raise UserError(f"{path}: {name_of(key, position, entry)}{separator}{error}") from error
