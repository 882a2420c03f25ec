"""Tables of numbers, which on a phone become one block for each row."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

BROAD_FROM = 7
"""Number of columns from which a table has no room on a tablet, too."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """A table.

    Args:
        headings: plain texts.
        rows: HTML of the cells.
        texts: number of columns on the left that are texts; the others are numbers.
    """
    heads = "".join(
        f'<th scope="col"{_number(place, texts)}>{escape(heading)}</th>' for place, heading in enumerate(headings)
    )
    body = "".join(f"<tr>{_cells(headings, row, texts)}</tr>" for row in rows)
    kind = "wide broad" if len(headings) >= BROAD_FROM else "wide"
    return f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _cells(headings: Sequence[str], row: Sequence[str], texts: int) -> str:
    first, *others = zip(headings, row, strict=True)
    cells = [f'<th scope="row">{first[1]}</th>']
    for place, (heading, cell) in enumerate(others, 1):
        label = f' data-label="{escape(heading)}"'
        cells.append(f"<td{_number(place, texts)}{label}>{cell}</td>")
    return "".join(cells)


def _number(place: int, texts: int) -> str:
    return ' class="n"' if place >= texts else ""


def pairs(rows: Mapping[str, str]) -> str:
    """A table of names, which are plain text, and the HTML of what they are."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="path">{value}</td></tr>' for name, value in rows.items()
    )
    return f'<table class="pairs"><tbody>{body}</tbody></table>'


def details(summary: str, html: str, *, opened: bool = False) -> str:
    """What is shown on demand. ``summary`` is plain text, ``html`` what it opens."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{html}</details>"


def numbers(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A chart's numbers as a table, on demand."""
    return details("The numbers as a table", table(headings, rows))
