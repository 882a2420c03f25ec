"""Damage to inputs, for the fuzzers: to bytes, and to JSON along its structure. Every mutation follows from a seed."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refinemask.files import UserError

LONGEST_MESSAGE = 600
"""Characters of an error that a person still reads."""
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e-320, 1e9, 1e308,
    float("inf"), float("-inf"), float("nan"), "", "x", "1", "1.5", "\x00", "ä" * 300, "../../etc/passwd", "/dev/zero",
    [], [[]], [None], [1, 2, 3], [1.5] * 8, {}, {"a": 1}, {"size": [1, 1], "counts": [1]}, {"size": 5, "counts": "x"},
)  # fmt: skip
"""Values that a field may hold in a damaged or foreign file."""


def mutated_json(content: Any, random: np.random.Generator) -> Any:
    """A copy of a JSON value with one to three changes: a value replaced, a key or entry removed, doubled or added."""
    content = copy.deepcopy(content)
    for _ in range(random.integers(1, 4)):
        places = list(_places(content))
        if not places:
            return _odd(random)
        holder, key = places[random.integers(len(places))]
        _change(holder, key, random)
    return content


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or object of a JSON value, with each of its indices or keys."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield value, key
        yield from _places(child)


def _odd(random: np.random.Generator) -> Any:
    return copy.deepcopy(ODD_VALUES[random.integers(len(ODD_VALUES))])


def _change(holder: Any, key: Any, random: np.random.Generator) -> None:
    kind = random.integers(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 1:
        holder[f"{key}_"] = holder[key]
    elif kind == 2 and isinstance(holder[key], int | float):
        holder[key] = holder[key] * float(random.choice([-1, 0, 1e-3, 1.5, 1e3, 1e12]))
    elif kind == 3:
        holder[key] = [holder[key]]
    else:
        holder[key] = _odd(random)


def mutated_bytes(data: bytes, random: np.random.Generator) -> bytes:
    """A copy of a file's bytes: cut, a part removed, doubled or overwritten, bits flipped, or something behind it."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 4)):
        start = int(random.integers(len(changed) + 1))
        end = min(len(changed), start + int(2 ** random.uniform(0, 12)))
        kind = random.integers(6)
        if kind == 0:
            del changed[start:]
        elif kind == 1:
            del changed[start:end]
        elif kind == 2:
            changed[start:start] = changed[start:end]
        elif kind == 3:
            changed[start:end] = random.bytes(end - start)
        elif kind == 4 and start < len(changed):
            changed[start] ^= 1 << random.integers(8)
        else:
            changed += random.bytes(end - start)
    return bytes(changed)


_refusals = 0


def refusals() -> int:
    """Number of calls of :func:`refusal` in this process that found an input refused."""
    return _refusals


def refusal(read: Callable[[], Any]) -> str | None:
    """Why ``read`` refuses its input, in one short line; None if it takes it. Any other exception is a failure."""
    global _refusals
    try:
        read()
    except UserError as error:
        message = str(error)
        assert message, "an error without a message"
        assert "\n" not in message, f"more than a line: {message}"
        assert len(message) <= LONGEST_MESSAGE, f"too long to read: {message}"
        _refusals += 1
        return message
    return None
