"""Configurations as JSON text: written in order, and checked field by field when they are read."""

import dataclasses
import json
import typing
from typing import Any, TypeVar

from refinemask.config import MaskHeadConfig
from refinemask.json_files import checked, parse_json, short

T = TypeVar("T")


def to_json(config: Any) -> str:
    """The configuration as JSON text, keys in declaration order."""
    return json.dumps(dataclasses.asdict(config))


def from_json(cls: type[T], text: str | bytes) -> T:
    """Rebuild a configuration written by :func:`to_json`, or any dataclass of JSON values.

    Raises:
        ValueError: the text is no JSON object, or a field is unknown, missing, of the wrong kind or out of its range.
    """
    try:
        return _build(cls, parse_json(text), "")
    except ValueError as error:
        raise ValueError(f"not a {cls.__name__}: {error}") from error


def _build(kind: Any, value: Any, place: str) -> Any:
    """``value``, which JSON gave for the field ``place``, as a ``kind``."""
    if kind is MaskHeadConfig:
        kind = _mask_head_of_kind(value, place)
    if not dataclasses.is_dataclass(kind):
        return _checked(kind, value, place)
    if not isinstance(value, dict):
        raise ValueError(f"{place + ' is ' if place else ''}{short(value)}, expected an object")
    hints = typing.get_type_hints(kind, include_extras=True)
    fields, of_place = {field.name: field for field in dataclasses.fields(kind)}, f" of {place}" if place else ""
    if unknown := sorted(value.keys() - fields.keys()):
        raise ValueError(f"the field {short(unknown[0])}{of_place} is unknown; was it written by a newer version?")
    if missing := [name for name, field in fields.items() if name not in value and _is_required(field)]:
        raise ValueError(f"lacks the field {missing[0]!r}{of_place}")
    arguments = {name: _build(hints[name], item, f"{place}.{name}".lstrip(".")) for name, item in value.items()}
    try:
        return kind(**arguments)  # type: ignore[operator]
    except ValueError as error:
        raise ValueError(f"{place}: {error}" if place else str(error)) from error


def _checked(kind: Any, value: Any, place: str) -> Any:
    try:
        return checked(value, kind)
    except ValueError as error:
        reason = str(error)
        raise ValueError(f"{place}{reason}" if reason[0] == "[" else f"{place} is {short(value)}, {reason}") from error


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _mask_head_of_kind(value: Any, place: str) -> type[MaskHeadConfig]:
    """The configuration of the kind that ``value`` names, among all that are defined in this process."""
    # A subclass sets ``kind`` on the class, which a type checker cannot know.
    kinds = {head.kind: head for head in MaskHeadConfig.__subclasses__()}  # type: ignore[misc]
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(
            f"{place}: no mask head of the kind {short(kind)} is known, only {', '.join(kinds)}; "
            "import the module that defines it"
        )
    return kinds[kind]
