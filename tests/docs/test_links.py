"""Links between the pages lead to files and headings that exist."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.markdown_pages import ROOT, Page, pages

PLACE = re.compile(r"([\w.-]+)(/[\w.-]+)+\.(py|md|json|toml|sh|cu|cpp|h|svg|png|jpg|safetensors|yml|ipynb|js|css)")
"""What looks like the path of a file, with the folder that it begins with."""
FOREIGN = ("out", "runs", "data", "build", "dist", "site")
"""Folders at the top of a checkout that are not in the repository."""


def link_faults(page: Page) -> list[str]:
    """One line for each link of a page that leads nowhere."""
    return [f"{page}: {link}: {fault}" for link in page.links() if (fault := _fault(page, link))]


def _fault(page: Page, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme == "mailto":
        return None
    if parts.scheme or parts.netloc:
        well_formed = parts.scheme in ("http", "https") and re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc)
        return None if well_formed else "is no address of a page"
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if parts.path and not target.exists():
        return "there is no such file"
    if not target.is_relative_to(ROOT) and page.path.is_relative_to(ROOT):
        return "leads out of the repository"
    if parts.fragment and target.suffix == ".md":
        linked = page if target == page.path else Page(target)
        return None if parts.fragment in linked.anchors() else "there is no such heading"
    return None


def path_faults(page: Page) -> list[str]:
    """One line for each path in backticks that begins with a folder of the repository, and is no file there."""
    matches = filter(None, map(PLACE.fullmatch, page.codes()))
    ours = [match[0] for match in matches if match[1] not in FOREIGN and (ROOT / match[1]).is_dir()]
    return [f"{page}: `{path}`: there is no such file" for path in ours if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_link_leads_somewhere(page: Page) -> None:
    assert not link_faults(page)


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_path_in_backticks_exists(page: Page) -> None:
    assert not path_faults(page)


def test_the_pages_link_to_each_other() -> None:
    assert sum(len(page.links()) for page in pages()) > 10


@pytest.mark.parametrize(
    ("markdown", "fault"),
    [
        ("[a](missing.md)", "there is no such file"),
        ("![a](missing.png)", "there is no such file"),
        ('<img src="missing.png">', "there is no such file"),
        ("[a]\n\n[a]: missing.md", "there is no such file"),
        ("[a](#two)\n\n# One", "there is no such heading"),
        ("[a](other.md#two)", "there is no such heading"),
        ("[a](https:/docs.org)", "is no address of a page"),
        ("[a](https://nowhere)", "is no address of a page"),
    ],
)
def test_a_link_to_nowhere_is_found(tmp_path: Path, markdown: str, fault: str) -> None:
    (tmp_path / "other.md").write_text("# One")
    faults = link_faults(Page(tmp_path / "page.md", markdown))
    assert len(faults) == 1
    assert faults[0].endswith(fault)


@pytest.mark.parametrize(
    "markdown",
    [
        "[a](other.md#one-two)",
        "[a](other.md#one-two-1)",
        "[a](other.md#a-engines_load--b)",
        '[a](#here)\n\n<a id="here"></a>',
        "`[a](missing.md)`",
        "```\n[a](missing.md)\n```",
        "[a](https://docs.python.org/3/library/re.html#re.sub)",
    ],
)
def test_a_good_link_is_no_fault(tmp_path: Path, markdown: str) -> None:
    (tmp_path / "other.md").write_text("# One, two\n\n## *One* two\n\n## A `engines_load` & b")
    assert not link_faults(Page(tmp_path / "page.md", markdown))


def test_a_path_of_no_file_is_found(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md", "`refinemask/train.py`, `refinemask/training.py`, `out/x.json`, `a/b.py`")
    assert path_faults(page) == ["page.md: `refinemask/training.py`: there is no such file"]
