"""The page of an inspection, in a browser."""

from pathlib import Path

import pytest

from refinemask.data.inspection.page import write_page
from refinemask.data.inspection.run import inspect
from tests.support.chromium import EMPTY, chromium, require_fits, require_quiet
from tests.support.own_data import clean, write_own_data


@pytest.mark.parametrize("width", [360, 1600])
def test_all_of_the_page_is_seen(width: int, tmp_path: Path) -> None:
    annotations, images = write_own_data(tmp_path, clean())
    path = tmp_path / "page.html"
    write_page(inspect(annotations, images), path)
    with chromium() as page:
        page.open(path, width, dark=width == 360)
        assert page.run("document.images.length") > 0
        page.run("[...document.images].forEach((image) => image.loading = 'eager')")
        page.run("Promise.all([...document.images].map((image) => image.decode()))")
        assert page.run(EMPTY) == 0
        require_fits(page)
        require_quiet(page)
