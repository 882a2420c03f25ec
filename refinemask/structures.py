"""The result of a detector, whatever engine computed it. Imports no PyTorch."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.masks import RLE

Result = dict[str, Any]
"""An entry of COCO's results format: image_id, category_id, bbox (x, y, w, h), score, segmentation (RLE)."""


class Detections(NamedTuple):
    """A batch of detections, padded to a fixed number ``K`` per image and sorted by score.

    Arrays are PyTorch tensors or NumPy arrays, on the device of the engine that made them. Detections past
    ``num_detections`` are padding: score 0, label 0, box 0.
    """

    boxes: Any
    """[B, K, 4] float32, (x1, y1, x2, y2) in pixels of the network's input."""
    scores: Any
    """[B, K] float32, descending in each image."""
    labels: Any
    """[B, K] int64, 0-based positions among the model's classes."""
    num_detections: Any
    """[B] int64, number of real detections in each image."""
    masks: Any
    """[B, K, M, M] float32 foreground probabilities on a grid over each box."""

    def numpy(self) -> "Detections":
        """The same detections as NumPy arrays in host memory."""
        return Detections(*(np.asarray(a.cpu() if hasattr(a, "cpu") else a) for a in self))


class ImageDetections(NamedTuple):
    """The detections of one image, best first, in pixels of the original image."""

    boxes: NDArray[np.float32]
    """[N, 4] float32 (x1, y1, x2, y2)."""
    scores: NDArray[np.float32]
    """[N] float32, descending."""
    labels: NDArray[np.int64]
    """[N] int64, 0-based positions among the model's classes."""
    rles: list[RLE]
    """N masks of the whole image."""
