"""Numbers of a data set: objects of each class and image, their sizes, and how they crowd."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinemask.config import ModelConfig
from refinemask.data.coco import CocoDataset
from refinemask.data.inspection.losses import Reasons
from refinemask.data.transforms import resize_shape

SMALL, MEDIUM = 32**2, 96**2
"""Areas in square pixels from which on COCO calls an object medium, and large."""
FINEST_STRIDE = 4
"""Stride of the pyramid's finest level, P2, which has the smallest anchors."""
SIDE_EDGES: tuple[float, ...] = tuple(2 ** (exponent / 2) for exponent in range(2, 21))
"""Limits of the histogram of object sides, half an octave apart; the first and last bars have all beyond."""
COUNT_EDGES: tuple[int, ...] = (1, *(2**exponent for exponent in range(1, 13)))
"""Limits of the histogram of objects per image; the first bar has the images without any."""
OVERLAP = 0.5
"""IoU above which two boxes overlap here: at it, NMS keeps one of two detections of a class."""
COCO_DETECTIONS = 100
"""Detections per image that COCO's evaluation counts."""
REACHED_SHARE = 0.95
"""Share of the objects that reach half of the smallest anchor by the proposed scale."""
_BOXES_AT_ONCE = 512


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of some numbers; zeros if there are none."""

    smallest: float
    median: float
    largest: float


@dataclass(frozen=True)
class ClassCount:
    """A class in numbers."""

    name: str
    objects: int
    trainable: int
    """Objects that training would see."""
    images: int
    """Images with an object that training would see."""


@dataclass(frozen=True)
class Statistics:
    """A data set in numbers; what is not said to be of all objects is of those that training would see."""

    images: int
    objects: int
    """All objects that were read."""
    crowds: int
    """Objects of ``iscrowd`` 1, of all."""
    trainable: int
    """Objects that training would see."""
    classes: tuple[ClassCount, ...]
    """In the order of labels."""
    objects_per_image: Spread
    """Of all objects."""
    counts: tuple[int, ...]
    """Histogram over ``COUNT_EDGES`` of the objects per image."""
    empty_images: int
    """Images without any object, in the file, too."""
    untrainable_images: int
    """Images with objects, none of which training would see, also because the reader left them out."""
    heights: Spread
    widths: Spread
    image_sizes: int
    """Number of different image sizes."""
    sizes: dict[str, int]
    """Objects by COCO's areas: small (under 32²), medium (under 96²) and large."""
    sides: tuple[int, ...]
    """Histogram over ``SIDE_EDGES`` of the square root of each box's area, in pixels of the network's input."""
    smallest_anchor: float
    """Side of the model's smallest square anchor, in pixels of the network's input."""
    under_half_anchor: int
    """Objects whose box, in the network's input, has a side (square root of its area) under half of that."""
    proposed_anchor_scale: float
    """Anchor scale with which 95 % of the objects reach half of the smallest anchor."""
    overlapping: int
    """Objects whose box overlaps another one's by an IoU of more than one half."""
    overlapping_same_class: int
    """The same among objects of one class."""
    detections: int
    """Largest number of detections per image of the model."""
    most_objects: int
    """Largest number of objects of an image."""
    images_over_detections: int
    """Images with more objects than the model gives detections."""
    objects_over_detections: int
    """Objects beyond that number."""
    images_over_coco: int
    """Images with more objects than COCO's evaluation counts."""
    twice: int
    """Objects with the box and class of another object of their image that is listed before."""


@dataclass(frozen=True)
class _Objects:
    """All objects as columns."""

    image: NDArray[np.int64]
    """[N] position of the image among the data set's, ascending."""
    label: NDArray[np.int64]
    boxes: NDArray[np.float64]
    """[N, 4] (x, y, width, height)."""
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    trainable: NDArray[np.bool_]

    def chosen(self, which: NDArray[np.bool_]) -> "_Objects":
        return _Objects(*(column[which] for column in vars(self).values()))


def compute_statistics(dataset: CocoDataset, reasons: Reasons, model: ModelConfig) -> Statistics:
    """Count; ``reasons`` says which objects training would see, ``model`` how images are resized and objects found."""
    objects = _columns(dataset, reasons)
    seen = objects.chosen(objects.trainable)
    count = len(dataset.images)
    per_image = np.bincount(objects.image, minlength=count)
    seen_per_image = np.bincount(seen.image, minlength=count)
    incomplete = np.array([image.id in dataset.incomplete for image in dataset.images], bool)
    empty = (per_image == 0) & ~incomplete
    shapes = np.array([(image.height, image.width) for image in dataset.images], np.int64).reshape(-1, 2)
    sides = _network_sides(seen, shapes, model)
    anchor = FINEST_STRIDE * model.rpn.anchor_scale
    overlapping, same_class = _overlapping(seen)
    limit = model.box_head.detections
    rows = np.column_stack([seen.image, seen.label, seen.boxes])
    return Statistics(
        images=count,
        objects=len(objects.image),
        crowds=int(objects.crowd.sum()),
        trainable=len(seen.image),
        classes=_classes(dataset, objects, seen),
        objects_per_image=_spread(per_image),
        counts=_histogram(seen_per_image, COUNT_EDGES),
        empty_images=int(empty.sum()),
        untrainable_images=int(((seen_per_image == 0) & ~empty).sum()),
        heights=_spread(shapes[:, 0]),
        widths=_spread(shapes[:, 1]),
        image_sizes=len(np.unique(shapes, axis=0)),
        sizes=dict(zip(("small", "medium", "large"), _histogram(seen.area, (SMALL, MEDIUM)), strict=True)),
        sides=_histogram(sides, SIDE_EDGES),
        smallest_anchor=anchor,
        under_half_anchor=int((sides < anchor / 2).sum()),
        proposed_anchor_scale=_proposed_scale(sides),
        overlapping=overlapping,
        overlapping_same_class=same_class,
        detections=limit,
        most_objects=int(seen_per_image.max(initial=0)),
        images_over_detections=int((seen_per_image > limit).sum()),
        objects_over_detections=int((seen_per_image - limit).clip(0).sum()),
        images_over_coco=int((seen_per_image > COCO_DETECTIONS).sum()),
        twice=len(rows) - len(set(map(bytes, np.ascontiguousarray(rows)))),
    )


def _columns(dataset: CocoDataset, reasons: Reasons) -> _Objects:
    counts = [len(dataset.annotations[image.id]) for image in dataset.images]
    each = [annotation for image in dataset.images for annotation in dataset.annotations[image.id]]
    labels = dataset.labels
    return _Objects(
        image=np.repeat(np.arange(len(counts)), counts),
        label=np.array([labels[annotation.category_id] for annotation in each], np.int64),
        boxes=np.array([annotation.bbox for annotation in each], np.float64).reshape(-1, 4),
        area=np.array([annotation.area for annotation in each], np.float64),
        crowd=np.array([annotation.iscrowd for annotation in each], bool),
        trainable=np.array([reason is None for image in dataset.images for reason in reasons[image.id]], bool),
    )


def _histogram(numbers: NDArray[Any], edges: Sequence[float]) -> tuple[int, ...]:
    """How many numbers lie below the first edge, between two, and at or above the last."""
    return tuple(np.bincount(np.digitize(numbers, edges), minlength=len(edges) + 1).tolist())


def _spread(numbers: NDArray[np.int64]) -> Spread:
    if not len(numbers):
        return Spread(0, 0, 0)
    return Spread(float(numbers.min()), float(np.median(numbers)), float(numbers.max()))


def _classes(dataset: CocoDataset, objects: _Objects, seen: _Objects) -> tuple[ClassCount, ...]:
    number = len(dataset.class_names)
    all_objects, trainable = (np.bincount(each.label, minlength=number) for each in (objects, seen))
    pairs = np.unique(seen.image * number + seen.label)
    images = np.bincount(pairs % number, minlength=number)
    rows = zip(dataset.class_names, all_objects.tolist(), trainable.tolist(), images.tolist(), strict=True)
    return tuple(ClassCount(*row) for row in rows)


def _network_sides(seen: _Objects, shapes: NDArray[np.int64], model: ModelConfig) -> NDArray[np.float64]:
    """[N] square root of the area of each object's box in pixels of the network's input."""
    different, which = np.unique(shapes, axis=0, return_inverse=True)
    resized = [resize_shape(int(height), int(width), model.preprocessing) for height, width in different]
    factors = np.array([new[0] * new[1] for new in resized]) / different.prod(axis=1)
    return np.sqrt(seen.boxes[:, 2] * seen.boxes[:, 3] * factors[which.ravel()][seen.image])


def _proposed_scale(sides: NDArray[np.float64]) -> float:
    """Rounded down to halves, because larger anchors are fewer misses for large objects; at least one stride."""
    if not len(sides):
        return 1.0
    anchor = 2 * float(np.quantile(sides, 1 - REACHED_SHARE))
    return max(1.0, np.floor(2 * anchor / FINEST_STRIDE) / 2)


def _overlapping(seen: _Objects) -> tuple[int, int]:
    """Number of objects whose box overlaps another's of its image; and another's of its image and class."""
    from pycocotools import mask as coco_mask

    ends = np.flatnonzero(np.diff(seen.image, append=-1)) + 1
    overlapping = same_class = 0
    for start, end in pairwise([0, *ends.tolist()]):
        boxes, labels = seen.boxes[start:end], seen.label[start:end]
        for first in range(0, len(boxes) if len(boxes) > 1 else 0, _BOXES_AT_ONCE):
            rows = slice(first, first + _BOXES_AT_ONCE)
            over = coco_mask.iou(boxes[rows], boxes, np.zeros(len(boxes), np.uint8)) > OVERLAP
            # Every box overlaps itself.
            overlapping += int((over.sum(axis=1) > 1).sum())
            over &= labels[rows, None] == labels
            same_class += int((over.sum(axis=1) > 1).sum())
    return overlapping, same_class
