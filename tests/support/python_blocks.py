"""Python code of the pages, held against our packages: its imports, the attributes it takes, the keywords it gives."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from scripts.command_reference import PACKAGES
from tests.support.markdown_pages import Page

LANGUAGES = ("python", "py")
UNKNOWN = object()


def python_faults(page: Page) -> list[str]:
    """One line for each piece of a page's Python code that could not run."""
    return [
        f"{page}:{fence.line + line - 1}: {fault}"
        for fence in page.fences(*LANGUAGES)
        for line, fault in code_faults(fence.code)
    ]


def code_faults(code: str) -> Iterator[tuple[int, str]]:
    """Line and reason of all that is wrong with a piece of code."""
    try:
        tree = ast.parse(textwrap.dedent(code))
    except SyntaxError as error:
        yield error.lineno or 1, error.msg
        return
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, value in _imported(node):
                if value is UNKNOWN:
                    yield node.lineno, f"{name} cannot be imported"
                else:
                    known[name] = value
    for name in _assigned(tree):
        known.pop(name, None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (fault := _attribute_fault(node, known)):
            yield node.lineno, fault
        if isinstance(node, ast.Call):
            yield from ((node.lineno, fault) for fault in _keyword_faults(node, known))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in (*PACKAGES, "tests", "examples")


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Any]]:
    """Names that an import of our packages binds, with what they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if _is_ours(alias.name):
                module = import_module(alias.name) if _exists(alias.name) else UNKNOWN
                top = alias.name.partition(".")[0]
                yield (alias.name, UNKNOWN) if module is UNKNOWN else (alias.asname or top, import_module(top))
        return
    module = node.module or ""
    for alias in node.names if _is_ours(module) else ():
        full = f"{module}.{alias.name}"
        if not _exists(module):
            yield full, UNKNOWN
        elif _exists(full) and not hasattr(import_module(module), alias.name):
            yield alias.asname or alias.name, import_module(full)
        else:
            value = getattr(import_module(module), alias.name, UNKNOWN)
            yield (full, UNKNOWN) if value is UNKNOWN else (alias.asname or alias.name, value)


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, AttributeError):
        return False


def _assigned(tree: ast.AST) -> set[str]:
    """Names that the code itself gives another meaning."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _value(node: ast.expr, known: dict[str, Any]) -> Any:
    """What an expression stands for, if it is a known name or an attribute of a known module or class."""
    if isinstance(node, ast.Name):
        return known.get(node.id, UNKNOWN)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, known)
        return getattr(owner, node.attr, UNKNOWN) if isinstance(owner, ModuleType | type) else UNKNOWN
    return UNKNOWN


def _attribute_fault(node: ast.Attribute, known: dict[str, Any]) -> str | None:
    owner = _value(node.value, known)
    if not isinstance(owner, ModuleType | type) or hasattr(owner, node.attr):
        return None
    if isinstance(owner, ModuleType) and _exists(f"{owner.__name__}.{node.attr}"):
        return None
    return f"{ast.unparse(node)} does not exist"


def _keyword_faults(node: ast.Call, known: dict[str, Any]) -> Iterator[str]:
    function = _value(node.func, known)
    if function is UNKNOWN or not callable(function):
        return
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in parameters:
            yield f"{ast.unparse(node.func)} takes no {keyword.arg}"
