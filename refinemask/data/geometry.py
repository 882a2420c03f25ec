"""Boxes, masks and class maps of one image: resized, mirrored, turned and cropped. Imports no PyTorch.

Polygons stay polygons. Images and bitmaps share one grid: a pixel covers the unit square to the right of and below its
index, so that a mirrored or turned polygon covers exactly the mirrored or turned pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refinemask.data.segmentation import Segmentation
from refinemask.masks import polygon_rle, segmentation_rle
from refinemask.polygons import clip

Polygons = list[NDArray[np.float64]]
"""The parts of one instance, each (x0, y0, x1, y1, …) in pixels of the network's input."""
Bitmap = NDArray[np.uint8]
"""[h, w] of 0 and 1 over the valid part of the network's input."""


class Crop(NamedTuple):
    """A part of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of an image or a map [h, w, …] that lies in the crop."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def resize_boxes(
    boxes: Sequence[tuple[float, float, float, float]], old: tuple[int, int], new: tuple[int, int]
) -> NDArray[np.float32]:
    """Boxes [G, 4] xyxy, clipped, in an image of (height, width) ``new``, from (x, y, w, h) in one of ``old``."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    scale = np.array([new[1] / old[1], new[0] / old[0]] * 2, np.float32)
    limit = np.array([new[1], new[0]] * 2, np.float32)
    return np.clip(corners * scale, 0, limit)


def resize_mask(
    segmentation: Segmentation, old: tuple[int, int], new: tuple[int, int], keep_polygons: bool = True
) -> Polygons | Bitmap:
    """Resize an instance's mask from an image of (height, width) ``old`` to one of ``new``."""
    from pycocotools import mask as coco_mask

    if isinstance(segmentation, list) and keep_polygons:
        scale = np.array([new[1] / old[1], new[0] / old[0]])
        return [(np.asarray(part, np.float64).reshape(-1, 2) * scale).ravel() for part in segmentation]
    rle = segmentation_rle(segmentation, *old)
    rows, columns = (nearest_indices(*sides) for sides in zip(old, new, strict=True))
    # Most objects are small: only the pixels of their box are looked up.
    x, y, width, height = coco_mask.toBbox(rle)
    rows_of_box = slice(*np.searchsorted(rows, (y, y + height)))
    columns_of_box = slice(*np.searchsorted(columns, (x, x + width)))
    resized = np.zeros(new, np.uint8)
    source = rows[rows_of_box, None], columns[columns_of_box]
    resized[rows_of_box, columns_of_box] = coco_mask.decode(rle)[source]
    return resized


def resize_labels(labels: NDArray[np.uint8], new: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a map [h, w] of classes, or of 0 and 1, to (height, width) ``new``."""
    rows, columns = (nearest_indices(*sides) for sides in zip(labels.shape, new, strict=True))
    return labels.take(rows, axis=0).take(columns, axis=1)


def nearest_indices(old: int, new: int) -> NDArray[np.int64]:
    """The pixel of a side of ``old`` pixels that each of ``new`` pixels [new] takes: the one that has its centre.

    A centre between two pixels takes the second. OpenCV's INTER_NEAREST_EXACT takes the one or the other
    by its version, and its plain INTER_NEAREST shifts the map by up to half a pixel.
    """
    return (2 * np.arange(new) + 1) * old // (2 * new)


def flip_boxes(boxes: NDArray[np.float32], shape: tuple[int, int], axis: int) -> NDArray[np.float32]:
    """Mirror xyxy boxes in an image of (height, width) ``shape``; axis 1 is left-right, 0 top-bottom."""
    flipped, low, high = boxes.copy(), 1 - axis, 3 - axis
    flipped[:, low], flipped[:, high] = shape[axis] - boxes[:, high], shape[axis] - boxes[:, low]
    return flipped


def flip_mask(mask: Polygons | Bitmap, shape: tuple[int, int], axis: int) -> Polygons | Bitmap:
    """Mirror an instance in an image of (height, width) ``shape``; axis 1 is left-right, 0 top-bottom."""
    if isinstance(mask, np.ndarray):
        return np.flip(mask, axis)
    flipped = [part.copy() for part in mask]
    for part in flipped:
        part[1 - axis :: 2] = shape[axis] - part[1 - axis :: 2]
    return flipped


def transpose_mask(mask: Polygons | Bitmap) -> Polygons | Bitmap:
    """Exchange rows and columns of an instance."""
    if isinstance(mask, np.ndarray):
        return mask.T
    return [part.reshape(-1, 2)[:, ::-1].ravel() for part in mask]


def rasterise(polygons: Polygons, height: int, width: int) -> Bitmap:
    """The union of the polygons as the COCO API rasterises them: uint8 [height, width]."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode(polygon_rle(polygons, height, width))


def crop_object(
    mask: Polygons | Bitmap, box: NDArray[np.float32], crop: Crop
) -> tuple[Polygons | Bitmap, NDArray[np.float32]] | None:
    """The mask and the xyxy box [4] of an instance within a crop, relative to the crop's corner.

    The box of an instance that the crop cuts is that of its visible part. An instance of which less than a pixel is
    visible, in either direction, is None.
    """
    corner = np.array([crop.left, crop.top])
    moved = box - np.tile(corner, 2).astype(np.float32)
    limit = np.array([crop.width, crop.height])
    is_cut = bool((moved[:2] < 0).any() or (moved[2:] > limit).any())
    if isinstance(mask, np.ndarray):
        visible: Polygons | Bitmap = crop.of(mask)
        extent = bitmap_box(crop.of(mask)) if is_cut else moved
    else:
        shifted = [part.reshape(-1, 2) - corner for part in mask]
        is_cut = is_cut or any((part < 0).any() or (part > limit).any() for part in shifted)
        parts = [clip(part, np.zeros(2), limit) for part in shifted] if is_cut else shifted
        visible = [part.ravel() for part in parts if len(part) > 2]
        extent = polygon_box(visible, crop.height, crop.width) if is_cut else moved
    if (extent[2:] - extent[:2] < 1).any():
        return None
    return visible, extent


def bitmap_box(bitmap: Bitmap) -> NDArray[np.float32]:
    """The xyxy box [4] around the pixels of a bitmap; zeros if it has none."""
    rows, columns = (np.flatnonzero(bitmap.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def polygon_box(polygons: Polygons, height: int, width: int) -> NDArray[np.float32]:
    """The xyxy box [4] around polygons within an image; zeros if no pixel is theirs.

    What was cut off outside may have left edges along the border that enclose nothing, so the pixels are asked.
    """
    from pycocotools import mask as coco_mask

    if not polygons:
        return np.zeros(4, np.float32)
    rle = polygon_rle(polygons, height, width)
    if not coco_mask.area(rle):
        return np.zeros(4, np.float32)
    pixels = coco_mask.toBbox(rle)
    pixels[2:] += pixels[:2]
    points = np.concatenate(polygons).reshape(-1, 2)
    # A rasterised polygon has its corners in or beside its outermost pixels.
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return box.clip(pixels - 1, pixels + 1).clip(0, [width, height] * 2).astype(np.float32)
