"""Results whose masks are some columns of a small image."""

import numpy as np
from pycocotools import mask as coco_mask

from refinemask.structures import Result


def box(left: int, width: int, score: float | None = 0.9, category: int = 1) -> Result:
    """An object that fills columns of an image of 10 × 100 pixels."""
    mask = np.zeros((10, 100), np.uint8, order="F")
    mask[:, left : left + width] = 1
    rle = coco_mask.encode(mask)
    result = {"category_id": category, "bbox": [left, 0, width, 10], "segmentation": rle}
    return result if score is None else result | {"score": score}
