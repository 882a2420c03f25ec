"""The part of an image that is shown."""

import pytest

from refinemask.differences.view import choose_box, make_view


@pytest.mark.parametrize(
    ("size", "differing", "expected"),
    [
        ((480, 640), (600, 400, 30, 30), (0, 0, 640, 480)),
        ((4000, 6000), (3000, 2000, 100, 200), (2410, 1460, 3690, 2740)),
        ((4000, 6000), (0, 3900, 100, 100), (0, 2720, 1280, 4000)),
        ((4000, 6000), (1000, 500, 4000, 3000), (0, 0, 6000, 4000)),
        ((600, 6000), (3000, 0, 100, 600), (2410, 0, 3690, 600)),
    ],
)
def test_the_surroundings_of_what_differs_are_shown_of_large_images(
    size: tuple[int, int], differing: tuple[int, int, int, int], expected: tuple[int, int, int, int]
) -> None:
    assert choose_box(*size, differing) == expected


def test_what_is_shown_is_said() -> None:
    assert make_view((480, 640), (0, 0, 640, 480), 1280).note == ""
    assert make_view((480, 640), (0, 0, 640, 480), 320).note == "reduced from 640×480 to 320×240 pixels"
