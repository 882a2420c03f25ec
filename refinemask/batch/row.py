"""What a job keeps of one image. Imports no PyTorch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KILLED = "killed the worker process"
"""How the error begins of an image that is in quarantine: with each attempt at it the worker process ended."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """The objects found in one image, best first, or why there are none.

    Its place among the images of the job is that of its reference among those that were asked for.
    """

    image: str
    """The reference, as the job was given it: a path or a URL."""
    height: int | None
    """Height of the image in pixels; None if it failed."""
    width: int | None
    """Width of the image in pixels; None if it failed."""
    boxes: NDArray[np.float32]
    """[N, 4] float32 (x1, y1, x2, y2) in pixels of the original image."""
    scores: NDArray[np.float32]
    """[N] float32, descending."""
    labels: NDArray[np.int32]
    """[N] int32, 0-based positions among the detector's classes."""
    category_ids: NDArray[np.int32]
    """[N] int32, the data set's category id of each detection."""
    counts: tuple[str, ...]
    """N masks of the whole image, each the string of COCO's compressed run lengths."""
    error: str | None = None
    """Why the image failed, in one line; None if it did not."""

    @classmethod
    def failed(cls, image: str, error: str) -> "Row":
        """The row of an image that failed."""
        none = np.empty(0, np.int32)
        return cls(
            image=image,
            height=None,
            width=None,
            boxes=np.empty((0, 4), np.float32),
            scores=np.empty(0, np.float32),
            labels=none,
            category_ids=none,
            counts=(),
            error=error,
        )
