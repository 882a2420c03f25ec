"""A training example: an image with its objects, changed together. Imports no PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from refinemask.data.geometry import Bitmap, Crop, Polygons, crop_object, flip_boxes, flip_mask, transpose_mask


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image and its objects, in pixels of the network's input. Every method returns another example."""

    pixels: NDArray[np.uint8]
    """[h, w, 3] RGB."""
    boxes: NDArray[np.float32]
    """[G, 4] xyxy."""
    labels: NDArray[np.int64]
    """[G] 0-based."""
    masks: Sequence[Polygons | Bitmap]
    """Mask of each box."""
    semantic: NDArray[np.uint8] | None = None
    """[h, w] class of each pixel, 255 where unknown."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.pixels.shape[:2]
        return height, width

    def flip(self, axis: int) -> "Example":
        """Mirrored; axis 1 is left-right, 0 top-bottom."""
        boxes = flip_boxes(self.boxes, self.shape, axis)
        masks = [flip_mask(mask, self.shape, axis) for mask in self.masks]
        return self._moved(lambda array: np.flip(array, axis), boxes, masks)

    def transpose(self) -> "Example":
        """Rows and columns exchanged."""
        masks = [transpose_mask(mask) for mask in self.masks]
        return self._moved(lambda array: array.swapaxes(0, 1), self.boxes[:, [1, 0, 3, 2]], masks)

    def rotate(self, turns: int) -> "Example":
        """Turned counterclockwise by ``turns`` times 90 degrees, exactly."""
        if turns % 4 == 2:
            return self.flip(0).flip(1)
        return self.transpose().flip(0 if turns % 4 == 1 else 1) if turns % 4 else self

    def crop(self, crop: Crop) -> "Example":
        """The part of the image within ``crop``; objects of which less than a pixel is visible are dropped."""
        cropped = [crop_object(mask, box, crop) for mask, box in zip(self.masks, self.boxes, strict=True)]
        kept = [index for index, found in enumerate(cropped) if found is not None]
        found = [each for each in cropped if each is not None]
        boxes = np.array([box for _, box in found], np.float32).reshape(-1, 4)
        moved = self._moved(crop.of, boxes, [mask for mask, _ in found])
        return replace(moved, labels=self.labels[kept])

    def _moved(
        self,
        move: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
        boxes: NDArray[np.float32],
        masks: Sequence[Polygons | Bitmap],
    ) -> "Example":
        semantic = None if self.semantic is None else move(self.semantic)
        return replace(self, pixels=move(self.pixels), semantic=semantic, boxes=boxes, masks=masks)
