"""The sizes that a package was compiled for: which one an image gets, and what is refused."""

import pytest

from engines.canvases import Canvases, Size
from refinemask.contract import InputError
from refinemask.files import UserError

LANDSCAPE, PORTRAIT, SMALL = (800, 1344), (1344, 800), (416, 416)
CANVASES = Canvases(batch=2, sizes=(LANDSCAPE, PORTRAIT, SMALL))


@pytest.mark.parametrize(
    ("image", "canvas"),
    [
        ((750, 1333), LANDSCAPE),
        ((1333, 750), PORTRAIT),
        ((800, 1344), LANDSCAPE),
        ((416, 300), SMALL),
        ((900, 300), PORTRAIT),
        ((300, 900), LANDSCAPE),
    ],
)
def test_an_image_gets_the_smallest_canvas_that_holds_it(image: Size, canvas: Size) -> None:
    assert CANVASES.canvas(*image) == canvas


def test_of_canvases_of_one_area_the_first_that_holds_an_image_is_taken() -> None:
    assert Canvases(batch=1, sizes=(PORTRAIT, LANDSCAPE)).canvas(600, 600) == PORTRAIT


@pytest.mark.parametrize(
    ("image", "canvas"),
    [((900, 1400), LANDSCAPE), ((1400, 900), PORTRAIT), ((801, 1344), LANDSCAPE), ((4000, 100), PORTRAIT)],
)
def test_an_image_that_fits_none_gets_the_canvas_for_which_it_shrinks_least(image: Size, canvas: Size) -> None:
    assert CANVASES.canvas(*image) == canvas


def test_bounds_hold_every_canvas_and_the_first_is_typical() -> None:
    bounds = CANVASES.bounds
    assert (bounds.batch, bounds.height, bounds.width) == ((1, 2, 2), (416, 800, 1344), (416, 1344, 1344))
    for size in CANVASES.sizes:
        bounds.check((2, 3, *size))


def test_a_batch_of_both_orientations_shrinks_into_one_canvas() -> None:
    """Its larger sides together fit neither."""
    assert Canvases(batch=2, sizes=(LANDSCAPE, PORTRAIT)).canvas(1333, 1333) == LANDSCAPE


def test_batches_of_a_canvas_are_accepted_up_to_the_compiled_number_of_images() -> None:
    CANVASES.check((1, 3, 800, 1344))
    CANVASES.check((2, 3, 416, 416))
    with pytest.raises(
        InputError, match=r"^3 images in a batch, but this engine was compiled for up to 2: split the batch"
    ):
        CANVASES.check((3, 3, 416, 416))


def test_another_size_is_refused_with_the_sizes_that_there_are() -> None:
    with pytest.raises(
        InputError,
        match=r"^images are padded to 800x800, but this engine was compiled for 800x1344, 1344x800, 416x416: pad to "
        r"one of these, or compile for others \(python -m engines\.build --canvases\)$",
    ):
        CANVASES.check((1, 3, 800, 800))


@pytest.mark.parametrize(
    ("batch", "sizes", "message"),
    [
        (0, (SMALL,), "--batch 0: expected at least one image"),
        (1, (), "canvases : expected one size or several different ones"),
        (1, (SMALL, SMALL), "canvases 416x416, 416x416: expected one size or several different ones"),
        (1, (SMALL, (800, 1333)), "canvas 800x1333: expected multiples of 32, such as 800x1344"),
        (1, ((0, 32),), "canvas 0x32: expected multiples of 32, such as 800x1344"),
        (1, ((-32, 32),), "canvas -32x32: expected multiples of 32, such as 800x1344"),
    ],
)
def test_what_cannot_be_compiled_for_is_refused(batch: int, sizes: tuple[Size, ...], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        Canvases(batch=batch, sizes=sizes)
