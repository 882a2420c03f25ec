"""Values of any type become 8 bits as the window says, by an independent calculation with exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest

from refinemask.config import Window
from refinemask.files import UserError
from refinemask.window import BLOCK, described, map_window, parse_window, spelled
from tests.support.mutations import refusal

TYPES = "uint8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float16", "float32", "float64"


def values_of(dtype: str, shape: tuple[int, ...] = (9, 11)) -> np.ndarray:
    """Values of the whole range of integers, and some of floats."""
    random = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return (random.normal(size=shape) * 1000).astype(dtype)
    limits = np.iinfo(dtype)
    values = random.integers(limits.min, limits.max, shape, dtype=np.dtype(dtype).type, endpoint=True)
    values.flat[:2] = limits.min, limits.max
    return values


def exact(value: float, low: Fraction, high: Fraction) -> float:
    """The mapped value before it is rounded."""
    return float(min(max((Fraction(value) - low) * 255 / (high - low), Fraction(0)), Fraction(255)))


def exact_percentile(values: np.ndarray, percentile: float) -> Fraction:
    ordered = sorted(Fraction(value) for value in values.ravel().tolist())
    position = Fraction(percentile) / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("percentile", [False, True])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_values_are_mapped_in_proportion(dtype: str, percentile: bool, channels: int | None) -> None:
    pixels = values_of(dtype, (9, 11) if channels is None else (9, 11, channels))
    if percentile:
        window = Window(low=12.5, high=90, percentile=True)
        low, high = (exact_percentile(pixels, limit) for limit in (window.low, window.high))
    else:
        spread = float(np.abs(pixels.astype(np.float64)).max())
        window = Window(low=-spread / 4, high=spread / 2)
        low, high = Fraction(window.low), Fraction(window.high)
    mapped = map_window(pixels, window)
    assert mapped.dtype == np.uint8
    assert mapped.shape == (9, 11, 3)
    expected = np.array([exact(value, low, high) for value in pixels.ravel().tolist()]).reshape(9, 11, -1)
    assert np.abs(mapped - np.broadcast_to(expected, mapped.shape)).max() <= 0.5 + 1e-9
    assert len(np.unique(mapped)) > 20


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", ">i2"])
def test_the_order_of_bytes_does_not_matter(dtype: str) -> None:
    pixels = values_of("uint16") // 4
    window = Window(low=100, high=9000)
    for stored in (
        pixels.astype(dtype),
        np.dstack([pixels.astype(dtype)] * 3)[..., 1],
        pixels.astype(dtype)[::-1][::-1],
    ):
        np.testing.assert_array_equal(map_window(stored, window), map_window(pixels, window))


def test_a_window_as_wide_as_the_multiples_gives_the_numbers_back() -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(map_window(values * 16, Window(low=0, high=4080))[..., 1], values)
    np.testing.assert_array_equal(map_window(values * 257, Window(low=0, high=65535))[..., 2], values)


def test_an_image_of_several_blocks_is_mapped_as_its_parts() -> None:
    pixels = values_of("uint16", (3, BLOCK // 2 + 5))
    window = Window(low=100, high=60000)
    np.testing.assert_array_equal(
        map_window(pixels, window), np.concatenate([map_window(row[None], window) for row in pixels])
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("window", [Window(low=-1, high=1), Window(low=0, high=100, percentile=True)])
def test_what_is_no_number_is_black_and_infinities_are_beyond_the_window(window: Window) -> None:
    pixels = np.array([[math.nan, math.inf, -math.inf, 1.0, -1.0]], np.float32)
    assert map_window(pixels, window)[0, :, 0].tolist() == [0, 255, 0, 255, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint16", 0), ("uint16", 7), ("float32", 0), ("float32", -7), ("float32", math.nan), ("float32", math.inf)],
)
def test_an_image_of_one_value_is_black_by_percentiles(dtype: str, value: float) -> None:
    mapped = map_window(np.full((4, 5), value, dtype), Window(low=1, high=99, percentile=True))
    assert mapped.max() == (255 if value == math.inf else 0)


def test_percentiles_of_equal_values_separate_what_is_above_them() -> None:
    pixels = np.zeros((10, 10), np.uint16)
    pixels[0, 0] = 9
    mapped = map_window(pixels, Window(low=10, high=90, percentile=True))
    assert mapped[0, 0, 0] == 255
    assert mapped[1:].max() == 0


@pytest.mark.parametrize(
    ("words", "window"),
    [
        ("0 4095", Window(low=0, high=4095)),
        ("-1000 3e3", Window(low=-1000, high=3000)),
        ("percentile 0.1 99.9", Window(low=0.1, high=99.9, percentile=True)),
    ],
)
def test_words_state_a_window_and_are_written_so(words: str, window: Window) -> None:
    assert parse_window(words.split()) == window
    assert parse_window(spelled(window).split()) == window


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("4095 0", "low is 4095.0, expected less than high, 0.0"),
        ("5 5", "low is 5.0, expected less"),
        ("percentile 1 101", "expected 0 to 100"),
        ("percentile -1 99", "expected 0 to 100"),
        ("0", "expected --window LOW HIGH"),
        ("", "expected --window LOW HIGH"),
        ("percentile 1", "expected --window LOW HIGH"),
        ("percentile 1 99 a.png", "what is no option goes before it"),
        ("0 4095 a.png", "what is no option goes before it"),
        ("percentiles 1 99", "expected --window LOW HIGH"),
        ("0 nan", "expected --window LOW HIGH"),
        ("0 inf", "expected --window LOW HIGH"),
        ("0 1e31", "expected --window LOW HIGH"),
        ("a b", "expected --window LOW HIGH"),
    ],
)
def test_words_that_state_no_window_are_refused(words: str, reason: str) -> None:
    message = refusal(lambda: parse_window(words.split()))
    assert message is not None
    assert reason in message
    with pytest.raises(UserError, match=r"^--window"):
        parse_window(words.split())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([3, 4095], np.uint16), "uint16 values 3 to 4095 (12 bits)"),
        (np.array([0, 0], np.uint16), "uint16 values 0 to 0 (0 bits)"),
        (np.array([-1000, 3000], np.int16), "int16 values -1000 to 3000"),
        (np.array([-0.25, 1.5, math.nan], np.float32), "float32 values -0.25 to 1.5"),
        (np.array([math.nan], np.float64), "float64 values, none of them finite"),
    ],
)
def test_an_image_is_described_by_type_and_range(values: np.ndarray, text: str) -> None:
    assert described(values) == text
