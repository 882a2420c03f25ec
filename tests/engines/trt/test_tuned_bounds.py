"""The padded sizes that an engine's images get: few, unless an image does not fit."""

from collections.abc import Callable

import pytest

import engines
from engines.trt.tuned_bounds import TunedBounds
from refinemask.contract import Bounds, InputError

COCO = Bounds(batch=(1, 1, 8), height=(32, 800, 1344), width=(32, 1344, 1344))
Size = tuple[int, int]


@pytest.mark.parametrize(
    ("image", "padded"),
    [
        ((800, 1067), (800, 1344)),
        ((1067, 800), (1344, 800)),
        ((750, 1333), (800, 1344)),
        ((800, 800), (800, 1344)),
        ((333, 20), (800, 1344)),
        ((1333, 1333), (1344, 1344)),
        ((801, 900), (832, 928)),
    ],
)
def test_images_are_padded_to_the_tuned_size_if_it_holds_them_either_way_round(image: Size, padded: Size) -> None:
    assert TunedBounds.of(COCO).canvas(*image) == padded


def test_the_size_that_was_tuned_for_decides() -> None:
    square = TunedBounds.of(Bounds(batch=(1, 1, 8), height=(32, 416, 1344), width=(32, 416, 1344)))
    assert [square.canvas(*size) for size in ((416, 300), (300, 417))] == [(416, 416), (320, 448)]


def test_a_size_that_the_engine_does_not_take_turned_is_not_turned() -> None:
    landscape = TunedBounds.of(Bounds(batch=(1, 1, 1), height=(32, 800, 1024), width=(32, 1344, 1344)))
    assert landscape.canvas(900, 700) == (928, 704)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        ((32, 800, 1344), (832, 1344, 1344)),
        ((800, 800, 1344), (800, 1344, 1344)),
        ((32, 800, 1344), (32, 1344, 1344)),
        ((32, 1344, 1344), (32, 800, 800)),
        ((832, 1344, 1344), (32, 800, 1344)),
        ((32, 64, 128), (96, 96, 96)),
    ],
)
def test_the_engine_takes_every_size_that_is_chosen(height: tuple[int, ...], width: tuple[int, ...]) -> None:
    """Each side has limits of its own, a smallest and a largest one."""
    tuned = TunedBounds.of(Bounds(batch=(1, 1, 1), height=height, width=width))  # type: ignore[arg-type]
    for image in ((20, 30), (30, 20), (height[1], width[1]), (min(height[2], width[1]), min(width[2], height[1]))):
        tuned.check((1, 3, *tuned.canvas(*image)))


def test_a_static_engine_has_its_one_size() -> None:
    static = TunedBounds.of(Bounds(batch=(1, 1, 1), height=(800, 800, 800), width=(1344, 1344, 1344)))
    assert [static.canvas(*size) for size in ((700, 900), (1333, 800))] == [(800, 1344)] * 2


def test_what_does_not_fit_the_engine_is_refused_as_before() -> None:
    tuned = TunedBounds.of(COCO)
    with pytest.raises(InputError, match="this file takes a width up to 1344"):
        tuned.canvas(800, 1345)
    tuned.check((8, 3, 800, 1088))
    with pytest.raises(InputError, match="images have batch 9"):
        tuned.check((9, 3, 800, 1344))
    assert tuned.to_json() == COCO.to_json()


def test_both_runners_pad_to_it(load: Callable[..., engines.Engine]) -> None:
    engine = load()
    assert isinstance(engine.bounds, TunedBounds)
    assert (engine.bounds.height[1], engine.bounds.width[1]) == (64, 64)
    assert engine.bounds.canvas(20, 33) == (64, 64)
