"""Protocol buffers' text format, written: what a ``config.pbtxt`` is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Word(str):
    """The name of an enumeration's value, which has no quotes."""


Value: TypeAlias = Union[str, int, "Message", Sequence["Value"]]
Message: TypeAlias = Mapping[str, Value]
"""Fields by name; a list is a field that is repeated."""


def to_pbtxt(message: Message) -> str:
    """The text of a message, a field in each line."""
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for name, value in message.items():
        assert NAME.fullmatch(name), name
        repeated = isinstance(value, Sequence) and not isinstance(value, str)
        for each in value if repeated else [value]:  # type: ignore[union-attr]
            if isinstance(each, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(each, f"{indent}  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(each)}"


def _scalar(value: object) -> str:
    if isinstance(value, Word):
        assert NAME.fullmatch(value), value
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    assert isinstance(value, str), value
    return f'"{"".join(map(_escaped, value.encode()))}"'


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in '"\\':
        return f"\\{character}"
    # Three octal digits, of bytes of UTF-8: what follows is never taken for a part of it.
    return character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
