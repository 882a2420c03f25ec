"""A predictor that finds every bright connected part of an image, pixel by pixel."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from refinemask.config import ModelConfig, Preprocessing
from refinemask.phases import Phases, unmeasured
from refinemask.structures import ImageDetections


class NucleiFinder:
    """Finds what is bright and connected; images are as large as ``side`` or smaller, so they are not resized."""

    name, precision = "nuclei finder", "fp32"

    def __init__(self, side: int) -> None:
        self.config = ModelConfig(
            class_names=("nucleus",),
            category_ids=(1,),
            preprocessing=Preprocessing(short_side=side, long_side=side),
        )

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
        return [
            self._nuclei(image[0, :height, :width]) for image, (height, width) in zip(images, image_shapes, strict=True)
        ]

    def _nuclei(self, image: np.ndarray) -> ImageDetections:
        count, parts, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(image))
        x, y, width, height, _ = stats[1:].T
        return ImageDetections(
            np.stack([x, y, x + width, y + height], axis=1).astype(np.float32),
            np.full(count - 1, 0.9, np.float32),
            np.zeros(count - 1, np.int64),
            [coco_mask.encode(np.asfortranarray(parts == index, np.uint8)) for index in range(1, count)],
        )
