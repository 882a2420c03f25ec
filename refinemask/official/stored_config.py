"""The configuration that an official checkpoint carries as Python text: parsed for its plain values, never run."""

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refinemask.files import UserError

LONGEST_TEXT = 1_000_000
"""Characters of a configuration; mmdetection's have up to 30,000."""
LONGEST_ITEM = 1_000
"""Tokens between two commas of a configuration; mmdetection's have up to 20."""
TOKEN = re.compile(
    r"""#[^\n]*|(?P<prefix>[A-Za-z]{0,2})(?P<quote>\"{3}|'{3}|["'])(?:\\.|(?!(?P=quote)).)*(?:(?P=quote)|\Z)|\w+|\\\n|\n|[^\w\s]""",
    re.DOTALL,
)
"""A comment, a string (to the end of the text where nothing closes it), a word, an end of a line, another sign."""


@dataclass(frozen=True)
class Unknown:
    """A value that only running the text would give."""

    text: str
    """What the text says."""


def stored_settings(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in a checkpoint's metadata, of mmdetection 2 (``config``) or 3 (``cfg``); empty if none is.

    Raises:
        UserError: there is a text, but it is no Python.
    """
    for key in ("config", "cfg"):
        found = meta.get(key)
        if isinstance(found, str) and found.strip():
            return parse_settings(found)
        if isinstance(found, dict) and found:
            return found
    return {}


def parse_settings(text: str) -> dict[str, Any]:
    """The values that a text of Python assigns to names.

    Numbers, strings, lists, tuples, dictionaries, ``dict(…)`` and names that were assigned before are evaluated;
    anything else is an :class:`Unknown`. Nothing is run.

    Raises:
        UserError: the text is too long, or no Python.
    """
    if len(text) > LONGEST_TEXT:
        raise _unreadable(f"it has {len(text)} characters")
    if _longest_item(text) > LONGEST_ITEM:
        raise _unreadable("it is nested too deeply")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(text).body
        settings: dict[str, Any] = {}
        for statement in statements:
            if isinstance(statement, ast.Assign):
                value = _value(statement.value, settings)
                settings.update({target.id: value for target in statement.targets if isinstance(target, ast.Name)})
    except SyntaxError as error:
        raise _unreadable(f"line {error.lineno or 1} is no Python") from error
    except (RecursionError, MemoryError) as error:
        raise _unreadable("it is nested too deeply") from error
    except ValueError as error:
        raise _unreadable("it is no text of Python") from error
    return settings


def _longest_item(text: str) -> int:
    """Most tokens without a comma among them, each pair of brackets by itself.

    ``a.a.a`` and ``a()()()`` nest as deeply as they are long, and the parser of Python 3.10 crashes on deep ones. A
    formatted string counts by its characters: it holds expressions.
    """
    longest, lengths = 0, [0]
    for token in TOKEN.finditer(text.replace("\r\n", "\n").replace("\r", "\n")):
        sign = token[0]
        if sign in ("(", "[", "{"):
            lengths[-1] += 1
            lengths.append(0)
        elif sign in (")", "]", "}"):
            if len(lengths) > 1:
                lengths.pop()
        elif sign in (",", ";") or (sign == "\n" and len(lengths) == 1):
            lengths[-1] = 0
        elif sign != "\n" and not sign.startswith("#"):
            lengths[-1] += len(sign) if "f" in (token["prefix"] or "").lower() else 1
        longest = max(longest, lengths[-1])
    return longest


def _unreadable(reason: str) -> UserError:
    return UserError(
        f"unreadable configuration: {reason}; expected Python assignments, as mmdetection stores them. Take 'meta' out "
        "of the file to convert it with the official settings"
    )


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            # mmdetection takes either where it takes one.
            return [_value(item, names) for item in node.elts]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Dict():
            return _dictionary(zip(node.keys, node.values, strict=True), node, names)
        case ast.Call(func=ast.Name(id="dict"), args=[]):
            pairs = ((word.arg and ast.Constant(word.arg), word.value) for word in node.keywords)
            return _dictionary(pairs, node, names)
    return Unknown(_shown(node))


def _dictionary(pairs: Iterator[tuple[Any, ast.expr]], node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The dictionary of key and value nodes; a key of None is that of ``**values``."""
    found: dict[str, Any] = {}
    for key, expression in pairs:
        value = _value(expression, names)
        if key is None:
            if not isinstance(value, dict):
                return Unknown(_shown(node))
            found.update(value)
        elif isinstance(key, ast.Constant) and isinstance(key.value, str):
            found[key.value] = value
    return found


def _shown(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else f"line {node.lineno}: {type(node).__name__.lower()}"


def lookup(settings: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The values at a path such as ``model.neck.type``, each with its full path.

    A list of dictionaries stands for all of them, and one that is absent has no values.
    """
    yield from _lookup(settings, path.split("."), "")


def _lookup(value: Any, names: list[str], where: str) -> Iterator[tuple[str, Any]]:
    if not names or isinstance(value, Unknown):
        yield where, value
    elif isinstance(value, dict):
        if names[0] in value:
            yield from _lookup(value[names[0]], names[1:], f"{where}.{names[0]}" if where else names[0])
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _lookup(item, names, f"{where}[{position}]")
