"""Simple copy-paste (Ghiasi et al., CVPR 2021): objects of one image are pasted into another. Imports no PyTorch."""

from dataclasses import replace

import numpy as np

from refinemask.data.example import Example
from refinemask.data.geometry import Bitmap, Crop, Polygons, bitmap_box, rasterise

SMALLEST_SHARE = 0.1
"""Share of an object's pixels that must stay uncovered, or the object is dropped."""


def copy_paste(target: Example, source: Example, random: np.random.Generator) -> Example:
    """Paste some of the objects of ``source`` into ``target``, both augmented already.

    The source is laid over the target at a random place, inside it or around it if one is the larger. Each object is
    pasted with a probability of one half, and at least one is. A covered object loses the covered pixels, so that a
    polygon becomes a bitmap; one that is nearly all covered is dropped. The pasted pixels keep their classes in the
    class map, if both have one.
    """
    part, crop = _overlap(target, source, random)
    pasted = _drawn(part, random)
    if not len(pasted.masks):
        return target
    inner = pasted.pixels.shape[:2]
    cover = np.zeros(target.shape, np.uint8)
    for mask in pasted.masks:
        crop.of(cover)[:] |= _bitmap(mask, *inner)
    where = crop.of(cover) == 1
    pixels = target.pixels.copy()
    crop.of(pixels)[where] = pasted.pixels[where]
    semantic = target.semantic
    if semantic is not None and pasted.semantic is not None:
        semantic = semantic.copy()
        crop.of(semantic)[where] = pasted.semantic[where]
    below = _uncovered(target, cover)
    corner = np.array([crop.left, crop.top] * 2, np.float32)
    return Example(
        pixels=pixels,
        boxes=np.concatenate([below.boxes, pasted.boxes + corner]),
        labels=np.concatenate([below.labels, pasted.labels]),
        masks=[*below.masks, *(_placed(mask, crop, target.shape) for mask in pasted.masks)],
        semantic=semantic,
    )


def _overlap(target: Example, source: Example, random: np.random.Generator) -> tuple[Example, Crop]:
    """The part of the source that lies on the target, and where."""
    room = np.array(target.shape) - source.shape
    top, left = (int(random.integers(min(0, side), max(0, side) + 1)) for side in room)
    height, width = (min(sides) for sides in zip(target.shape, source.shape, strict=True))
    part = source.crop(Crop(max(0, -top), max(0, -left), height, width))
    return part, Crop(max(0, top), max(0, left), height, width)


def _drawn(source: Example, random: np.random.Generator) -> Example:
    """The objects that are pasted."""
    count = len(source.masks)
    drawn = random.random(count) < 0.5
    if count and not drawn.any():
        drawn[random.integers(count)] = True
    masks = [mask for mask, is_drawn in zip(source.masks, drawn, strict=True) if is_drawn]
    return replace(source, boxes=source.boxes[drawn], labels=source.labels[drawn], masks=masks)


def _uncovered(example: Example, cover: Bitmap) -> Example:
    """The objects without their covered pixels."""
    kept, boxes, masks = [], [], []
    uncovered = 1 - cover
    for index, (box, mask) in enumerate(zip(example.boxes, example.masks, strict=True)):
        bitmap = _bitmap(mask, *example.shape)
        visible = bitmap & uncovered
        remaining, whole = np.count_nonzero(visible), np.count_nonzero(bitmap)
        if remaining < whole:
            if remaining < SMALLEST_SHARE * whole:
                continue
            box, mask = bitmap_box(visible), visible
        kept.append(index)
        boxes.append(box)
        masks.append(mask)
    return replace(example, boxes=np.array(boxes, np.float32).reshape(-1, 4), labels=example.labels[kept], masks=masks)


def _placed(mask: Polygons | Bitmap, crop: Crop, shape: tuple[int, int]) -> Polygons | Bitmap:
    """A mask of a crop as one of the whole image."""
    if isinstance(mask, np.ndarray):
        whole = np.zeros(shape, np.uint8)
        crop.of(whole)[:] = mask
        return whole
    return [part + np.resize([crop.left, crop.top], part.size) for part in mask]


def _bitmap(mask: Polygons | Bitmap, height: int, width: int) -> Bitmap:
    return mask if isinstance(mask, np.ndarray) else rasterise(mask, height, width)
