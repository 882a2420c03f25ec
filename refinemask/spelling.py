"""One spelling for what all command lines share; older ones still work, but no help text shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from refinemask.config import Window
from refinemask.contract import parse_size
from refinemask.files import UserError
from refinemask.window import parse_window, spelled

Model = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
OptionalModel = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Engines = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ENGINE…")]
Output = Annotated[Path, tyro.conf.arg(aliases=("-o",))]
OptionalOutput = Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="PATH")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT")]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
OptionalNames = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME…")]
OptionalFile = Annotated[str | None, tyro.conf.arg(metavar="PATH")]
"""A file, or - for standard input or output."""
OptionalRange = Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LOW HIGH")]


def _times(numbers: Sequence[int]) -> list[str]:
    return ["x".join(map(str, numbers))]


Size = Annotated[
    tuple[int, int],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="HxW",
        instance_from_str=lambda texts: parse_size(texts[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=_times,
    ),
]
"""(height, width) in pixels, written HxW."""


OptionalSize = Annotated[Size | None, tyro.conf.arg(metavar="HxW")]


def _parse_sides(text: str) -> tuple[int, int]:
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and side.isascii() and len(side) < 10 for side in sides):
        raise UserError(f"size {text!r}: expected SHORTxLONG in pixels, such as 800x1333")
    return int(sides[0]), int(sides[1])


OptionalSides = Annotated[
    Annotated[
        tuple[int, int],
        PrimitiveConstructorSpec(
            nargs=1,
            metavar="SHORTxLONG",
            instance_from_str=lambda texts: _parse_sides(texts[0]),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=_times,
        ),
    ]
    | None,
    tyro.conf.arg(metavar="SHORTxLONG"),
]
"""Largest (shorter side, longer side) of an image in pixels, written SHORTxLONG."""


def _parse_shape(text: str) -> tuple[int, int, int]:
    batch, _, size = text.partition("x")
    if not batch.isdigit():
        raise UserError(f"shape {text!r}: expected BATCHxHEIGHTxWIDTH, such as 4x800x1344")
    return int(batch), *parse_size(size)


Shape = Annotated[
    tuple[int, int, int],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="BxHxW",
        instance_from_str=lambda texts: _parse_shape(texts[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=_times,
    ),
]
"""(batch, height, width), written BxHxW."""
OptionalShape = Annotated[Shape | None, tyro.conf.arg(metavar="BxHxW")]


OptionalWindow = Annotated[
    Window | None,
    PrimitiveConstructorSpec(
        nargs=(2, 3),
        metavar="[percentile] LOW HIGH",
        instance_from_str=parse_window,
        is_instance=lambda value: value is None or isinstance(value, Window),
        str_from_instance=lambda window: [] if window is None else spelled(window).split(),
    ),
]
"""A window for images of more than 8 bits, written LOW HIGH or percentile LOW HIGH; None if not given."""

SECOND = "the second positional argument"
"""Key in a table of old spellings of what has become an option."""


class Old(NamedTuple):
    """How an option was spelled before."""

    new: str
    """The option's name now; empty for a positional argument."""
    numbers: int = 0
    """Number of separate numbers that are written with an x between them now."""


class OldSide(NamedTuple):
    """An option for one side of a size that is written HxW now."""

    new: str
    """The option of the size."""
    place: int
    """0 for the height, 1 for the width."""
    size: tuple[int, int]
    """(height, width) where a side is not given."""


def _parts(word: str, old: Mapping[str, Old | OldSide]) -> list[str]:
    name, equals, value = word.partition("=")
    return [name, value] if equals and name.replace("_", "-") in old else [word]


def respell(arguments: Sequence[str], old: Mapping[str, Old | OldSide]) -> list[str]:
    """The same command line in today's spelling.

    Args:
        arguments: words of a command line, in either spelling.
        old: by the option's old name, such as ``--checkpoint``, or :data:`SECOND`.
    """
    words = [part for word in arguments for part in _parts(word, old)]
    result: list[str] = []
    sizes: dict[str, list[str]] = {}
    while words:
        word = words.pop(0)
        option = old.get(word.replace("_", "-"))
        if option is None:
            result.append(word)
        elif isinstance(option, OldSide):
            sides = sizes.setdefault(option.new, [*map(str, option.size)])
            sides[option.place] = words.pop(0) if words else ""
        elif not option.new:
            # In front, or an option that takes any number of values would swallow it.
            result[:0] = [words.pop(0)] if words else []
        else:
            count = next((i for i, value in enumerate(words) if not value.isdigit()), len(words))
            joined = "x".join(words[: option.numbers]) if 0 < option.numbers <= count else None
            result += [option.new, joined] if joined else [option.new]
            del words[: option.numbers if joined else 0]
    if SECOND in old and sum(not word.startswith("-") for word in result[:2]) == 2:
        result.insert(1, old[SECOND].new)
    return result + [word for new, sides in sizes.items() for word in (new, "x".join(sides))]
