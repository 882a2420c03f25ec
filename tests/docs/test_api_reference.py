"""The page on the Python API has every public name, and no other."""

import re
from importlib import import_module

import pytest

from tests.support.markdown_pages import ROOT, Page

PAGE = ROOT / "docs" / "reference" / "api.md"
DIRECTIVE = re.compile(r"^<!-- ::: (\S+) -->$", re.MULTILINE)
NAMED = re.compile(r"^### `([\w.]+)`$", re.MULTILINE)


def public_names(package: str) -> set[str]:
    return {f"{package}.{name}" for name in import_module(package).__all__}


def resolve(name: str) -> object:
    """The object of a dotted name, which begins with a module."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


PACKAGES = ("refinemask", "engines", "engines.triton", "engines.triton_client", "export")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_the_page(package: str) -> None:
    codes = set(Page(PAGE).codes())
    assert not {name for name in public_names(package) if name not in codes}


def test_every_section_shows_the_docstring_of_its_name() -> None:
    text = PAGE.read_text()
    names, shown = NAMED.findall(text), DIRECTIVE.findall(text)
    assert len(names) > 20
    assert [resolve(name) for name in names] == [resolve(name) for name in shown]


def test_every_section_names_something_public() -> None:
    public = set().union(*(public_names(package) for package in PACKAGES))
    assert not set(NAMED.findall(PAGE.read_text())) - public
