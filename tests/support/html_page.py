"""A page of HTML as a test reads it."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

VOID = ("meta", "img", "wbr")
"""Tags that are never closed."""


class Reader(HTMLParser):
    """All tags, attributes and texts of a page; fails at a tag that closes no open one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        """Texts of the cells of every row of every table."""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"td", "th"} & set(self._open):
            # What stands in one cell below one another is apart.
            self.rows[-1][-1] += f" {data}" if self._open[-1] == "small" else data


def require_alone(text: str) -> Reader:
    """Assert that a page loads nothing, and that its policy allows its own style and script; return what was read."""
    page = Reader(text)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}, "no handlers"
    assert "style" not in names, "the policy refuses them"
    targets = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert all(target.startswith(("#", "data:image/")) for target in targets)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(value for name, value in page.attributes if "default-src" in value)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        for inline in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
            assert f"{tag}-src 'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'" in policy
    return page
