"""What comes out of a network is checked once: a file may promise one thing and compute another.

The five arrays are those of :class:`refinemask.structures.Detections`. Padding may hold anything.
"""

from typing import Any

import numpy as np

from refinemask.files import UserError
from refinemask.structures import Detections

LAYOUT = {
    "boxes": ("float32", ("B", "K", 4)),
    "scores": ("float32", ("B", "K")),
    "labels": ("int64", ("B", "K")),
    "num_detections": ("int64", ("B",)),
    "masks": ("float32", ("B", "K", "M", "M")),
}
"""Type and shape of each output; equal letters are equal sizes."""


class OutputError(UserError, ValueError):
    """Outputs of a network that break the contract."""


def check_layout(found: Detections, batch: int) -> None:
    """Check types and shapes, of NumPy arrays or of PyTorch tensors on any device, for ``batch`` images.

    Raises:
        OutputError: an output is of another type or shape.
    """
    sizes: dict[str | int, int] = {"B": batch}
    for name, (dtype, letters) in LAYOUT.items():
        array = getattr(found, name)
        shape = tuple(array.shape)
        same = len(shape) == len(letters)
        for letter, size in zip(letters, shape, strict=False):
            same &= size == (letter if isinstance(letter, int) else sizes.setdefault(letter, size))
        kind = str(array.dtype).removeprefix("torch.")
        if not same or kind != dtype:
            expected = [sizes.get(letter, letter) for letter in letters]
            shown = ", ".join(map(str, expected))
            raise OutputError(f"its output {name} is {kind} {list(shape)}; expected {dtype} [{shown}]")


def check_counts(num_detections: np.ndarray, places: int) -> None:
    """Raise an :class:`OutputError` unless each image has at least none and at most ``places`` detections."""
    wrong = (num_detections < 0) | (num_detections > places)
    if wrong.any():
        raise OutputError(f"its output num_detections is {num_detections[wrong][0]}; expected 0 to {places}")


def check_real(image: int, num_classes: int, labels: np.ndarray, **values: np.ndarray) -> None:
    """Check the real detections of an image, padding left out.

    Args:
        image: position of the image in its batch, for the message.
        num_classes: number of the model's classes.
        labels: [N] positions among the classes.
        values: [N, …] boxes, scores and masks.

    Raises:
        OutputError: a value is not finite, or a label is that of no class.
    """
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise OutputError(f"its output {name} has a value that is not finite (image {image} of the batch)")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise OutputError(
            f"its output labels has {wrong} (image {image} of the batch); expected 0 to {num_classes - 1}"
        )


def check_detections(found: Any, batch: int, num_classes: int) -> None:
    """Check the detections of ``batch`` images as NumPy arrays.

    Raises:
        OutputError: an output breaks the contract.
    """
    check_layout(found, batch)
    check_counts(found.num_detections, found.scores.shape[1])
    for image, count in enumerate(found.num_detections.tolist()):
        boxes, scores, labels, masks = (field[image, :count] for field in (*found[:3], found.masks))
        check_real(image, num_classes, labels, boxes=boxes, scores=scores, masks=masks)
