"""The Markdown pages of the repository, as a reader sees them."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = (
    "*.md",
    "docs/**/*.md",
    "examples/README.md",
    "trt_plugins/README.md",
    "benchmarks/results/README.md",
    "demo/**/*.md",
    "llms.txt",
    ".github/**/*.md",
)
HTML_LINK = re.compile(r'\b(?:href|src|srcset)="([^"]+)"')
HTML_ANCHOR = re.compile(r'\b(?:id|name)="([^"]+)"')


class Fence(NamedTuple):
    """A block of code."""

    language: str
    line: int
    """Number of its first line in the page."""
    code: str


class Page:
    """One page.

    Args:
        path: where it lies.
        text: its Markdown; None reads the file.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8") if text is None else text

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.path.name

    @cached_property
    def _tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    def _inline(self) -> Iterator[Token]:
        for token in self._tokens:
            yield from token.children or [token]

    def _html(self) -> str:
        return "\n".join(token.content for token in self._inline() if token.type in ("html_block", "html_inline"))

    def links(self) -> list[str]:
        """Targets of all links and pictures, in Markdown and in HTML."""
        targets = [str(token.attrs[key]) for token in self._inline() for key in ("href", "src") if key in token.attrs]
        return targets + HTML_LINK.findall(self._html())

    def anchors(self) -> set[str]:
        """What a link can name in the page, by GitHub's rules."""
        seen = Counter[str]()
        anchors = set(HTML_ANCHOR.findall(self._html()))
        for opening, heading in zip(self._tokens, self._tokens[1:], strict=False):
            if opening.type == "heading_open":
                slug = slugify("".join(child.content for child in heading.children or []))
                anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return anchors

    def fences(self, *languages: str) -> list[Fence]:
        """Blocks of code in these languages; the empty language is a block without one."""
        fences = (
            Fence(token.info.strip(), (token.map or [0])[0] + 2, token.content)
            for token in self._tokens
            if token.type == "fence"
        )
        return [fence for fence in fences if fence.language in languages]

    def codes(self) -> list[str]:
        """What stands between single backticks."""
        return [token.content for token in self._inline() if token.type == "code_inline"]


def slugify(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def pages() -> list[Page]:
    """All pages that are there."""
    return [Page(path) for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
