"""Pictures side by side, in a browser: all are seen, and what enlarges one enlarges all."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refinemask.page.document import document
from refinemask.page.viewer import VIEWER_SCRIPT, VIEWER_STYLE, Panel, Shape, Views, views_html
from tests.support.chromium import EMPTY, Page, chromium, require_fits, require_quiet
from tests.support.processes import wait_until

BOXES = """[...document.querySelectorAll("dialog svg")].map((svg) => svg.getAttribute("viewBox"))"""
IS_OPEN = """document.querySelector("dialog").open"""


def views(name: str) -> Views:
    stream = BytesIO()
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(stream, "WEBP")
    shape = Shape("object k0", "M10 10h5v5h-5z", 'a "cell" <0.9>')
    titles = "annotations", "a model with a long name.safetensors", "another model.onnx", "difference"
    panels = tuple(Panel(title, (shape,), faded=title == "difference") for title in titles)
    return Views(name, ("1 object in both",), (30, 40), stream.getvalue(), panels)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    html = views_html([views("<first>.png"), views("a-very-long-name-of-a-folder/" * 3 + "second.png")])
    path.write_text("".join(document("Pictures", f"<main>{html}</main>", style=VIEWER_STYLE, script=VIEWER_SCRIPT)))
    return path


@pytest.mark.parametrize("width", [360, 1600])
def test_every_picture_is_seen_and_no_text_is_cut(page: Page, file: Path, width: int) -> None:
    page.open(file, width, dark=width == 360)
    assert page.run("document.querySelectorAll('svg').length") == 8
    assert page.run(EMPTY) == 0
    require_fits(page)
    require_quiet(page)


def test_the_keyboard_opens_enlarges_moves_and_closes(page: Page, file: Path) -> None:
    page.open(file, 800)
    page.press("Tab")
    page.press("Enter", "\r")
    assert page.run(IS_OPEN)
    assert page.run(BOXES) == ["0 0 40 30"] * 4
    page.press("+", "+")
    width, height = 40 / 1.3, 30 / 1.3
    centred = [20 - width / 2, 15 - height / 2, width, height]
    assert [[round(float(each), 6) for each in box.split()] for box in page.run(BOXES)] == [
        [round(each, 6) for each in centred]
    ] * 4
    page.press("ArrowRight")
    # What is shown does not leave the picture.
    page.press("ArrowRight")
    page.press("ArrowRight")
    [box] = set(page.run(BOXES))
    assert round(sum(float(each) for each in box.split()[::2]), 6) == 40
    page.press("PageDown")
    assert page.run("document.querySelector('.viewer b').textContent").endswith("second.png")
    page.press("Escape")
    assert not page.run(IS_OPEN)
    # The dialog gives the focus back in a task of its own.
    assert wait_until(lambda: page.run("document.activeElement.dataset.name || ''").endswith("second.png"), 10)
    require_quiet(page)


def test_wheel_and_mouse_enlarge_and_move_all_pictures_together(page: Page, file: Path) -> None:
    page.open(file, 1600)
    page.run("document.querySelector('.panels').click()")
    centre = "(() => {const b = document.querySelectorAll('dialog svg')[3].getBoundingClientRect();"
    centre += "return [b.x + b.width / 2, b.y + b.height / 2]})()"
    x, y = page.run(centre)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-600)
    [box] = set(page.run(BOXES))
    left, top, width, height = map(float, box.split())
    assert width < 20
    # The mouse is in the middle but for a part of a pixel.
    assert round(left + width / 2, 1) == 20
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseMoved", x + 50, y + 20, button="left", buttons=1)
    page.mouse("mouseReleased", x + 50, y + 20, button="left", clickCount=1)
    [moved] = set(page.run(BOXES))
    assert float(moved.split()[0]) < left
    assert float(moved.split()[1]) < top
    assert [float(each) for each in moved.split()[2:]] == [width, height]
    require_quiet(page)


def test_all_pictures_are_there_without_a_script_and_in_print(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("".join(document("Pictures", views_html([views("a.png")]), style=VIEWER_STYLE)))
    page.open(path, 800)
    assert page.run("document.querySelectorAll('svg').length") == 4
    assert page.run(EMPTY) == 0
    assert page.run("document.querySelector('.views-hint').hidden")
    assert page.pdf().startswith(b"%PDF")
    require_quiet(page)
