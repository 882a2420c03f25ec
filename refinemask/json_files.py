"""JSON from outside, read in one way: text, then types. Whatever is wrong with it is a ValueError or a UserError."""

import json
import os
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from refinemask.files import UserError
from refinemask.readable import require_readable

T = TypeVar("T")

MOST_SHOWN = 80
"""Characters of a value that an error shows."""

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of 64 bits, as the ids of images, objects and categories are."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of things."""
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
"""A number of things of which there is at least one, such as an image's pixels in a row."""

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = MOST_SHOWN

# What Python calls them, for whoever reads the message beside the file.
_KINDS = {"array": "list", "str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON text: UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deeply") from error


def read_json(path: str | os.PathLike[str], expected: str) -> Any:
    """The content of a JSON file; ``expected`` says in errors what the file should be.

    Raises:
        UserError: the file cannot be read, is empty or is no JSON.
    """
    require_readable(path)
    try:
        return parse_json(Path(path).read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file: {error}; expected {expected}") from error


def decode_json(path: str | os.PathLike[str], kind: type[T]) -> T | None:
    """The content of a JSON file straight as a ``kind``, as :func:`checked` makes one without ``lax``.

    That takes less time and memory than reading any JSON and checking it, but an error does not say where it is.

    Returns:
        The content, or None if it is no JSON or of another kind.

    Raises:
        UserError: the file cannot be read.
    """
    require_readable(path)
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    # Text may be no UTF-8, which is a ValueError of Python's.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def checked(value: Any, kind: type[T], *, lax: bool = True) -> T:
    """``value``, which JSON or a file of plain values gave, as a ``kind``: any type that ``msgspec.convert`` builds.

    A whole number may be written as a float, and if ``lax`` a number as text, as some tools do.

    Raises:
        ValueError: a value is missing, of another kind or out of its range; the message says where.
    """
    try:
        return msgspec.convert(value, kind, strict=not lax)
    except msgspec.ValidationError as error:
        raise ValueError(_plain(str(error))) from error
    except AttributeError as error:
        # msgspec takes what has items, such as a tensor in a training state, for a mapping.
        raise ValueError(f"expected values as in JSON, found another kind ({error})") from error
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deeply") from error


def short(value: Any) -> str:
    """A value as an error shows it: as Python writes it, and cut off where it is long or deep."""
    text = _shortened.repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


def _plain(message: str) -> str:
    """A message of msgspec in this project's words: ``bbox[2]: expected number, found null``."""
    what, _, place = message.partition(" - at `$")
    place = place.rstrip("`").removeprefix(".").replace("[...]", "")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{place + ': ' if place else ''}lacks {missing[1]!r}"
    what = re.sub(r"`([^`]+)`", lambda kinds: " or ".join(_KINDS.get(k, k) for k in kinds[1].split(" | ")), what)
    what = what.replace("Expected", "expected").replace(", got", ", found").replace("Invalid enum", "unknown")
    return f"{place}: {what}" if place else what
