"""The page: it needs nothing beside itself, and nothing in a data set becomes markup."""

from pathlib import Path
from typing import Any

import pytest

from refinemask.data.inspection.page import write_page
from refinemask.data.inspection.run import Inspection, inspect
from tests.support.html_page import Reader, require_alone
from tests.support.own_data import clean, square, write_own_data

TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "div", "span", "b", "i", "table",
    "tr", "th", "td", "svg", "rect", "text", "line", "figure", "figcaption", "img", "footer",
}  # fmt: skip
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onload='x",
    "&lt;b&gt;",
    "</style><b>",
    "[red]",
]


def page_of(found: Inspection, path: Path, **options: Any) -> str:
    write_page(found, path, **options)
    return path.read_text("utf-8")


@pytest.fixture
def inspected(tmp_path: Path) -> Inspection:
    return inspect(*write_own_data(tmp_path, {**clean(), "lost.png": [square(iscrowd=1)]}))


def test_the_page_needs_nothing_beside_it(inspected: Inspection, tmp_path: Path) -> None:
    pytest.importorskip("supervision")
    text = page_of(inspected, tmp_path / "page.html", pictures=5)
    page = require_alone(text)
    assert page.tags <= TAGS
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert len(sources) == 5
    assert all(value.startswith("data:image/jpeg;base64,") for value in sources)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "@import" not in text
    assert "url(" not in text
    assert "//" not in "".join(value for name, value in page.attributes if name not in ("src", "alt"))
    assert "prefers-color-scheme: dark" in text
    assert ("http-equiv", "Content-Security-Policy") in page.attributes


def test_the_page_has_every_number(inspected: Inspection, tmp_path: Path) -> None:
    texts = Reader(page_of(inspected, tmp_path / "page.html", pictures=0)).texts
    assert "Training would use 24 of 25 objects, and lose 4.0 %." in texts
    assert texts[texts.index("crowds") - 1] == "1"
    assert "cat" in texts
    assert "13 RGB, 8 bits" in texts


def test_without_pictures_no_supervision_is_needed(inspected: Inspection, tmp_path: Path) -> None:
    assert "<figure>" not in page_of(inspected, tmp_path / "page.html", pictures=0)


def test_the_same_seed_gives_the_same_page(inspected: Inspection, tmp_path: Path) -> None:
    pytest.importorskip("supervision")
    first, second, other = (page_of(inspected, tmp_path / "page.html", pictures=4, seed=seed) for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize("evil", EVIL)
def test_names_are_text_whatever_they_are(tmp_path: Path, evil: str) -> None:
    pytest.importorskip("supervision")
    name = evil.replace("/", "∕")
    objects = {f"{name}.png": [square(category_id=2), square(iscrowd=1)], f"{name} absent.png": [square()]}
    annotations, images = write_own_data(tmp_path / name, objects, classes={1: evil, 2: f"{evil} 2"})
    (images / f"{name} absent.png").unlink()
    found = inspect(annotations, images, validation=annotations, validation_images=images)
    text = page_of(found, tmp_path / "page.html", pictures=3)
    page = Reader(text)
    assert page.tags <= TAGS
    assert not any(attribute.startswith("on") for attribute, _ in page.attributes)
    assert evil in page.texts
    assert f"{name}.png" in page.texts
    assert ("alt", f"{name}.png") in page.attributes


def test_names_that_no_encoding_takes_are_escaped(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean(1), classes={1: "\ud800cat", 2: "dog\x1b[31m"})
    assert "\\ud800cat" in page_of(inspect(annotations, images), tmp_path / "page.html", pictures=0)


@pytest.mark.parametrize("classes", [1, 12, 13, 80, 81, 1203])
def test_any_number_of_classes_has_a_list(tmp_path: Path, classes: int) -> None:
    names = {number: f"class {number}" for number in range(1, classes + 1)}
    paths = write_own_data(tmp_path, {"a.png": [square()]}, classes=names)
    texts = Reader(page_of(inspect(*paths), tmp_path / "page.html", pictures=0)).texts
    # The first without an object is named a second time, as such.
    shown = {text for text in texts if text.startswith("class ") and text[6:].isdigit()}
    assert len(shown) == min(classes, 80)
    assert (f"… {classes - 80:,} more" in texts) == (classes > 80)


def test_an_empty_data_set_has_a_page(tmp_path: Path) -> None:
    texts = Reader(page_of(inspect(*write_own_data(tmp_path, {})), tmp_path / "page.html")).texts
    assert "Training would not start: no object can be trained on." in texts
