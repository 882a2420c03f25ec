"""Pictures of the same image side by side, which are enlarged and moved together.

Without JavaScript, and printed, every picture is simply shown.
"""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

VIEWER_STYLE = Path(__file__).with_name("viewer.css").read_text("utf-8")
"""Rules of the pictures, for the page's head."""
VIEWER_SCRIPT = Path(__file__).with_name("viewer.js").read_text("utf-8")
"""What enlarges the pictures, for the end of the page; pictures are complete without it."""


@dataclass(frozen=True)
class Shape:
    """An outline over a photograph."""

    kind: str
    """Its classes in the style sheet."""
    path: str
    """Data of an SVG path, in pixels of the photograph."""
    title: str
    """What is said of it under the pointer."""


@dataclass(frozen=True)
class Panel:
    """A photograph with shapes over it."""

    title: str
    shapes: tuple[Shape, ...]
    faded: bool = False
    """Whether the photograph is dark, so that the shapes stand out."""


@dataclass(frozen=True)
class Views:
    """Several pictures of one photograph, side by side."""

    name: str
    """Name of the image."""
    notes: tuple[str, ...]
    """What is said of it, each in a line of its own."""
    size: tuple[int, int]
    """(height, width) of the photograph in pixels."""
    photograph: bytes
    """A WebP file."""
    panels: tuple[Panel, ...]

    @property
    def bytes(self) -> int:
        """About how long the pictures are in a page."""
        shapes = (len(shape.path) + 80 for panel in self.panels for shape in panel.shapes)
        return len(self.photograph) * 4 // 3 + sum(shapes)


def views_html(views: Iterable[Views]) -> str:
    """The figures, one for each photograph."""
    figures = "".join(_figure(number, each) for number, each in enumerate(views))
    hint = (
        '<p class="views-hint" hidden>Open a picture to enlarge it: wheel, pinch or <kbd>+</kbd> <kbd>−</kbd> zooms, '
        "dragging or the arrow keys move all its pictures together, <kbd>Esc</kbd> closes.</p>"
    )
    return f'<div class="views-list">{hint}{figures}</div>'


def _figure(number: int, views: Views) -> str:
    panels = "".join(_panel(f"photograph-{number}", place, panel, views) for place, panel in enumerate(views.panels))
    notes = "".join(f"<span>{escape(note)}</span>" for note in views.notes)
    shape = "three" if len(views.panels) == 3 else "four"
    legend = "".join(
        f'<span><i class="{shape.kind}"></i>{escape(shape.title)}</span>'
        for panel in views.panels
        if panel.faded
        for shape in panel.shapes
    )
    return (
        f'<figure class="views"><figcaption><b>{escape(views.name)}</b>{notes}</figcaption>'
        f'<div class="panels {shape}" data-name="{escape(views.name)}">{panels}</div>'
        f'<div class="legend">{legend}</div></figure>'
    )


def _panel(photograph: str, place: int, panel: Panel, views: Views) -> str:
    height, width = views.size
    # The photograph is in the page once; the other panels refer to it.
    faded = ' class="faded"' if panel.faded else ""
    if place == 0:
        source = f"data:image/webp;base64,{b64encode(views.photograph).decode()}"
        image = f'<image id="{photograph}"{faded} width="{width}" height="{height}" href="{source}"/>'
    else:
        image = f'<use href="#{photograph}"{faded}/>'
    shapes = "".join(
        f'<path class="{shape.kind}" d="{shape.path}"><title>{escape(shape.title)}</title></path>'
        for shape in panel.shapes
    )
    label = escape(f"{views.name}, {panel.title}")
    return (
        f'<div class="panel"><div class="panel-title">{escape(panel.title)}</div>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{image}{shapes}</svg></div>'
    )
