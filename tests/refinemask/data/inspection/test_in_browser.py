"""The page of an inspection, in a browser."""

from pathlib import Path

from refinemask.data.inspection.page import write_page
from refinemask.data.inspection.run import inspect
from tests.support.chromium import EMPTY, chromium, require_fits, require_quiet
from tests.support.own_data import clean, write_own_data


def test_all_of_the_page_is_seen_on_a_phone_and_on_a_wide_screen(tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    path = tmp_path / "page.html"
    write_page(inspect(annotations, images), path)
    with chromium() as page:
        page.open(path, 1600, dark=True)
        assert page.run("document.images.length") > 0
        page.run("[...document.images].forEach((image) => image.loading = 'eager')")
        page.run("Promise.all([...document.images].map((image) => image.decode()))")
        assert page.run(EMPTY) == 0
        for width in (1600, 360):
            page.resize(width)
            require_fits(page)
        require_quiet(page)
