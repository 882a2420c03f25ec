"""Changes of colour, against torchvision's and against what they mean."""

import colorsys

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from refinemask.data.colour import adjust_colour, jitter_colour
from tests.support.tolerances import assert_near


def middling(seed: int = 0) -> np.ndarray:
    """An image whose values no change of the tests drives beyond 0 to 255, where the two orders of clipping differ."""
    return np.random.default_rng(seed).integers(90, 150, (20, 30, 3), dtype=np.uint8)


def test_no_change_is_none() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert np.array_equal(adjust_colour(pixels, 1, 1, 1, 0), pixels)


@pytest.mark.parametrize("brightness", [0.8, 1.2])
@pytest.mark.parametrize("contrast", [0.7, 1.3])
@pytest.mark.parametrize("saturation", [0.0, 0.6, 1.4])
def test_brightness_contrast_and_saturation_are_torchvisions(
    brightness: float, contrast: float, saturation: float
) -> None:
    pixels = middling()
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    expected = functional.adjust_brightness(image, brightness)
    expected = functional.adjust_contrast(expected, contrast)
    expected = functional.adjust_saturation(expected, saturation)
    found = adjust_colour(pixels, brightness, contrast, saturation, 0)
    assert_near(found, 255 * expected.permute(1, 2, 0).numpy(), "grey levels")


def test_the_hue_turns_and_brightness_stays() -> None:
    pixels = np.full((2, 2, 3), (150, 100, 90), np.uint8)
    hue, *_ = colorsys.rgb_to_hsv(*pixels[0, 0] / 255)
    for turn in (0.05, 0.1, -0.1):
        found = adjust_colour(pixels, 1, 1, 1, turn)[0, 0]
        turned = (colorsys.rgb_to_hsv(*found / 255)[0] - hue + 0.5) % 1 - 0.5
        # The circles of YIQ and HSV are divided differently.
        assert 0.5 < turned / turn < 2
        assert abs(found @ [0.299, 0.587, 0.114] - pixels[0, 0] @ [0.299, 0.587, 0.114]) < 1


def test_greys_have_no_hue_and_no_saturation() -> None:
    pixels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    assert np.array_equal(adjust_colour(pixels, 1, 1, 1.7, 0.3), pixels)


def test_the_generator_decides() -> None:
    pixels = middling()
    first, again, other = (jitter_colour(pixels, 0.4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
