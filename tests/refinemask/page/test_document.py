"""The shell of a page: what a browser may load for it, and its sections."""

from refinemask.page.document import SKIP_LINK, Section, contents, document, sections
from tests.support.html_page import require_alone

PARTS = [Section("one", "First <part>", "<p>text</p>"), Section("two", "Second", "")]


def test_the_policy_allows_the_own_style_and_script_alone() -> None:
    page = require_alone("".join(document("A & B", ["<main></main>"], style=".x { top: 0 }", script="let x = 1 < 2;")))
    assert {"style", "script"} <= page.tags
    assert "A & B" in page.texts


def test_without_a_script_none_is_allowed() -> None:
    text = "".join(document("page", ["<main></main>"]))
    require_alone(text)
    assert "script-src" not in text
    assert "<script" not in text


def test_the_contents_link_to_the_sections() -> None:
    page = require_alone(
        "".join(document("page", [SKIP_LINK, '<main id="main">', contents(PARTS), *sections(PARTS), "</main>"]))
    )
    ids = {f"#{value}" for name, value in page.attributes if name == "id"}
    links = [value for name, value in page.attributes if name == "href"]
    assert set(links) == ids == {"#main", "#one", "#two"}
    assert page.texts.count("First <part>") == 2


def test_dark_colours_are_for_screens_alone() -> None:
    text = "".join(document("page", []))
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert "@media print" in text
