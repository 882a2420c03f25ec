"""What happens at random to a training image. Imports no PyTorch."""

import math

import numpy as np

from refinemask.config import DataConfig, Preprocessing
from refinemask.data.example import Example
from refinemask.data.geometry import Crop
from refinemask.data.transforms import resize_shape

CROPS = 10
"""Number of crops that are tried before an image of which none has an object stays whole."""


def draw_shape(height: int, width: int, config: DataConfig, random: np.random.Generator) -> tuple[int, int]:
    """The (height, width) to which an image is resized: one of the sides, times the factor of scale jitter."""
    side = int(random.choice(config.short_sides))
    shape = resize_shape(height, width, Preprocessing(short_side=side, long_side=config.long_side))
    if config.augmentation.scale_jitter is None:
        return shape
    smallest, largest = config.augmentation.scale_jitter
    factor = math.exp(random.uniform(math.log(smallest), math.log(largest)))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def move(example: Example, config: DataConfig, random: np.random.Generator) -> Example:
    """Flip, turn and crop a resized image."""
    for axis, probability in ((1, config.horizontal_flip), (0, config.vertical_flip)):
        if random.random() < probability:
            example = example.flip(axis)
    augmentation = config.augmentation
    if augmentation.rotation and random.random() < augmentation.rotation:
        example = example.rotate(int(random.integers(1, 4)))
    if augmentation.crop is not None:
        example = _crop(example, augmentation.crop, config.background_images, random)
    return example


def _crop(example: Example, size: tuple[int, int], may_be_empty: bool, random: np.random.Generator) -> Example:
    """A random part of at most ``size`` (height, width), with an object unless it may be empty or there is none.

    The first crop lies anywhere. If it has no object, the next ones have the middle of an object's box in them.
    """
    height, width = (min(sides) for sides in zip(size, example.shape, strict=True))
    room = np.array(example.shape, np.int64) - np.array([height, width], np.int64)
    if not room.any():
        return example
    top, left = random.integers(room + 1)
    for _ in range(CROPS):
        cropped = example.crop(Crop(int(top), int(left), height, width))
        if len(cropped.masks) or may_be_empty or not len(example.masks):
            return cropped
        x1, y1, x2, y2 = example.boxes[random.integers(len(example.boxes))]
        middle = np.array([y1 + y2, x1 + x2]) / 2
        top, left = (np.floor(middle) - random.integers((height, width))).clip(0, room).astype(int)
    return example
