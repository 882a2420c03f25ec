"""A page of HTML that loads nothing: its policy allows its own style, its own script and pictures within it."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading that the contents link to."""

    key: str
    """What follows # in a link to it: letters, digits and hyphens."""
    title: str
    html: str


def document(title: str, parts: Iterable[str], *, style: str = "", script: str = "") -> Iterator[str]:
    """The text of a page, piece by piece.

    Args:
        title: the page's title, as plain text.
        parts: HTML of the body.
        style: CSS beside that of every page. Attributes ``style`` are refused by browsers.
        script: JavaScript, if there is any. Attributes such as ``onclick`` are refused by browsers.
    """
    style = STYLE.read_text("utf-8") + style
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">'
    yield f"<style>{style}</style></head><body>"
    yield from parts
    yield f"<script>{script}</script>" if script else ""
    yield "</body></html>\n"


def _policy(style: str, script: str) -> str:
    """What a browser may load for the page: nothing but these texts, by their hashes, and pictures in the page."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    return f"default-src 'none'; style-src {_hash(style)}; {scripts}img-src data:; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def chapter(title: str, parts: Sequence[Section], *, below: str = "", footer: str) -> Iterator[str]:
    """The body of a page of sections, piece by piece: title, contents, sections and a footer.

    Args:
        title: the heading, as plain text.
        parts: the sections; those without HTML are left out.
        below: what stands below the heading, as plain text.
        footer: what stands at the end, as plain text.
    """
    parts = [part for part in parts if part.html]
    line = f'<p class="soft">{escape(below)}</p>' if below else ""
    yield f'{SKIP_LINK}<main id="main" tabindex="-1"><header><h1>{escape(title)}</h1>{line}{contents(parts)}</header>'
    yield from sections(parts)
    yield f"<footer>{escape(footer)}</footer></main>"


def sections(parts: Sequence[Section]) -> Iterator[str]:
    """Sections below one another; the name of each is a link to itself."""
    for part in parts:
        heading = f'<h2 id="{part.key}"><a href="#{part.key}">{escape(part.title)}</a></h2>'
        yield f'<section aria-labelledby="{part.key}">{heading}{part.html}</section>'


def contents(parts: Sequence[Section]) -> str:
    """Links to sections."""
    links = "".join(f'<li><a href="#{part.key}">{escape(part.title)}</a></li>' for part in parts)
    return f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>'


SKIP_LINK = '<a class="skip" href="#main">Skip to the content</a>'
"""The first thing in a page with contents: who uses the keyboard need not pass through them."""
