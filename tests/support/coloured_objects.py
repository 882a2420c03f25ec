"""A predictor that finds objects of known shape in a tile, whatever of them the tile shows."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from refinemask.config import ModelConfig, Preprocessing
from refinemask.phases import Phases, unmeasured
from refinemask.structures import ImageDetections


class ColouredObjects:
    """Finds an object for each value but 0 of the red channel, of class 0, and of the green channel, of class 1.

    Its score is the value / 255, less 0.1 where the image's edge cuts the object. Images are as large as ``side`` or
    smaller, so they are not resized.

    Args:
        side: largest side of an image in pixels.
        careless: pixels by which masks of objects that an edge cuts are too large.
        finds_cut: whether objects that an edge cuts are found at all.
    """

    name, precision = "coloured objects", "fp32"

    def __init__(self, side: int, *, careless: int = 0, finds_cut: bool = True) -> None:
        self.config = ModelConfig(
            class_names=("a", "b"),
            category_ids=(4, 9),
            preprocessing=Preprocessing(short_side=side, long_side=side),
        )
        self.batches: list[int] = []
        self._careless, self._finds_cut = careless, finds_cut

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        return None

    def detect(
        self,
        images: np.ndarray,
        image_sizes: np.ndarray,
        scale_factors: np.ndarray,
        image_shapes: Sequence[tuple[int, int]],
        *,
        phases: Phases = unmeasured,
    ) -> list[ImageDetections]:
        assert (scale_factors == 1).all()
        self.batches.append(len(images))
        return [
            self._objects(image[:2, :height, :width])
            for image, (height, width) in zip(images, image_shapes, strict=True)
        ]

    def _objects(self, channels: np.ndarray) -> ImageDetections:
        boxes, scores, labels, masks = [], [], [], []
        for label, channel in enumerate(channels):
            for value in np.unique(channel[channel > 0]).tolist():
                mask = (channel == value).astype(np.uint8)
                cut = any(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
                if cut and not self._finds_cut:
                    continue
                if cut and self._careless:
                    mask = cv2.dilate(mask, np.ones((2 * self._careless + 1,) * 2, np.uint8))
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
                scores.append(value / 255 - 0.1 * cut)
                labels.append(label)
                masks.append(mask)
        order = np.argsort(scores)[::-1]
        return ImageDetections(
            np.array(boxes, np.float32).reshape(-1, 4)[order],
            np.array(scores, np.float32)[order],
            np.array(labels, np.int64)[order],
            [coco_mask.encode(np.asfortranarray(masks[index])) for index in order],
        )
