"""Reports as JSON: the one place where their dataclasses become text, and text becomes them."""

import dataclasses
import json
import os
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from refinemask.files import UserError, atomic_write
from refinemask.foreign import one_line
from refinemask.json_files import parse_json
from refinemask.readable import require_readable

Report = TypeVar("Report")

ABSENT_IF_NONE = {"absent if None": True}
"""Metadata of a dataclass's field whose key the JSON lacks where the field is None."""


def to_json(value: Any) -> Any:
    """A report, or any part of one, as JSON values; keys are the fields' names in their order."""
    if dataclasses.is_dataclass(value):
        items = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: to_json(item) for field, item in items if item is not None or field.metadata != ABSENT_IF_NONE
        }
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    return value


def print_json(report: object) -> None:
    """Print a report on standard output."""
    print(json.dumps(to_json(report), indent=2))


def write_report(report: object, path: str | os.PathLike[str] | None) -> None:
    """Write a report as a JSON file, atomically; None is no file.

    Raises:
        UserError: the path cannot be written.
    """
    if path is None:
        return
    text = json.dumps(to_json(report), indent=1)
    # Lists of numbers or names on one line each: a thousand samples are not a thousand lines.
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n")


def read_report(kind: type[Report], path: str | os.PathLike[str]) -> Report:
    """Read a file that :func:`write_report` wrote of a report of this kind, by this version or an earlier one.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    require_readable(path)
    try:
        return _build(kind, parse_json(Path(path).read_bytes()))
    except (OSError, TypeError, LookupError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: expected the JSON of {kind.__name__}: {one_line(error)}; measure anew") from error


def _build(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(_build(arguments[0], item) for item in value)
    if origin is dict:
        return {key: _build(arguments[1], item) for key, item in value.items()}
    if origin in (typing.Union, types.UnionType) and value is not None:
        return _build(arguments[0], value)
    return value
