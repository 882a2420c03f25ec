"""Training images with their ground truth: read, resized, flipped and collated."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from refinemask.config import DataConfig, Preprocessing, Window
from refinemask.data.annotated import locate, read_annotated, require_files
from refinemask.data.coco import CocoAnnotation, CocoDataset, CocoImage, Segmentation
from refinemask.data.lvis import repeat_factors
from refinemask.data.sampler import Pick
from refinemask.data.transforms import pad_batch, resize, resize_shape
from refinemask.files import UserError
from refinemask.masks import segmentation_rle

SMALLEST_SIDE = 32
"""Shortest side, in pixels, of an image that is trained on."""

MOST_SKIPPED = 10
"""Number of unreadable images in a row that is no accident, and ends the training."""

Polygons = list[NDArray[np.float64]]
"""The parts of one instance, each (x0, y0, x1, y1, …) in pixels of the network's input."""
Bitmap = NDArray[np.uint8]
"""[h, w] of 0 and 1 over the valid part of the network's input."""


@dataclass(frozen=True, kw_only=True)
class ImageTargets:
    """The ground truth of one training image, in pixels of the network's input."""

    boxes: Tensor
    """[G, 4] float32 xyxy."""
    labels: Tensor
    """[G] int64, 0-based."""
    masks: Sequence[Polygons | Bitmap]
    """Mask of each box."""
    seed: int
    """Seed that decides which anchors and proposals of this image are sampled."""
    semantic: NDArray[np.uint8] | None = None
    """[h, w] class of each pixel of the valid part, 255 where unknown; only HTC learns from it."""

    def to(self, device: torch.device) -> "ImageTargets":
        """The same targets with boxes and labels on ``device``; masks stay in host memory."""
        return replace(self, boxes=self.boxes.to(device), labels=self.labels.to(device))


class TrainingBatch(NamedTuple):
    """A padded batch and its ground truth."""

    images: Tensor
    """uint8 [B, 3, H, W]."""
    image_sizes: Tensor
    """int64 [B, 2] valid (height, width)."""
    targets: list[ImageTargets]
    """Ground truth of each image."""
    skipped: list[str]
    """Reason for each image that was replaced by another."""

    def to(self, device: torch.device) -> "TrainingBatch":
        """The same batch on ``device``."""
        targets = [target.to(device) for target in self.targets]
        images, image_sizes = (x.to(device, non_blocking=True) for x in (self.images, self.image_sizes))
        return TrainingBatch(images, image_sizes, targets, self.skipped)


class TrainingImage(NamedTuple):
    """An augmented image."""

    pixels: NDArray[np.uint8]
    """[h, w, 3] uint8 RGB, resized."""
    targets: ImageTargets
    skipped: list[str]
    """Reasons why the images asked for could not be read, if this is another one."""


class TrainingDataset(Dataset[TrainingImage]):
    """The images of a COCO file that can be trained on, augmented as a ``Pick``'s seed says.

    Crowds and boxes without area or outside the image are dropped, and then images without any object. An image that
    cannot be read is replaced by the next, so that one bad file does not end a run of days.
    """

    def __init__(
        self,
        coco: CocoDataset,
        image_dir: str | os.PathLike[str],
        config: DataConfig,
        semantic_dir: str | os.PathLike[str] | None = None,
        window: Window | None = None,
    ) -> None:
        """List the images that can be trained on.

        Args:
            coco: the annotations.
            image_dir: folder of the images' files.
            config: the augmentation.
            semantic_dir: folder of the images' class maps; None if nothing learns from them.
            window: how images of more than 8 bits become images of 8; None takes images of 8 bits only.

        Raises:
            UserError: no image can be trained on, or a file of one is missing.
        """
        self._config = config
        self._window = window
        self._directory = Path(image_dir)
        self._semantic_directory = Path(semantic_dir) if semantic_dir is not None else None
        self._labels = coco.labels
        self._entries: list[tuple[CocoImage, list[CocoAnnotation]]] = []
        left_out: Counter[str] = Counter()
        for image in coco.images:
            reasons = [why_left_out(annotation, image) for annotation in coco.annotations[image.id]]
            left_out.update(reason for reason in reasons if reason is not None)
            annotations = [a for a, reason in zip(coco.annotations[image.id], reasons, strict=True) if reason is None]
            if min(image.height, image.width) < SMALLEST_SIDE:
                left_out[f"images under {SMALLEST_SIDE} pixels"] += 1
            elif annotations:
                self._entries.append((image, annotations))
            elif not coco.annotations[image.id]:
                left_out["images without annotations"] += 1
        self.left_out: str = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
        """What is not trained on and why, in a few words; empty if that is nothing."""
        if not self._entries:
            raise UserError(
                f"{coco.path}: none of its {len(coco.images)} images has an object to train on: {self.left_out}"
            )
        require_files([image for image, _ in self._entries], self._directory, coco.path)
        if self._semantic_directory is not None:
            maps = [replace(image, file_name=self._map_name(image)) for image, _ in self._entries]
            require_files(maps, self._semantic_directory, coco.path)
        if config.repeat_threshold is not None:
            categories = [{a.category_id for a in coco.annotations[image.id]} for image, _ in self._entries]
            factors = repeat_factors(categories, config.repeat_threshold)
            self._entries = [entry for entry, n in zip(self._entries, factors, strict=True) for _ in range(n)]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def image_ids(self) -> list[int]:
        """The id of every image; a repeated image occurs several times."""
        return [image.id for image, _ in self._entries]

    @property
    def aspect_ratios(self) -> list[float]:
        """Width / height of every image."""
        return [image.width / image.height for image, _ in self._entries]

    def __getitem__(self, pick: Pick) -> TrainingImage:
        skipped: list[str] = []
        for offset in range(MOST_SKIPPED):
            image, annotations = self._entries[(pick.image + offset) % len(self)]
            try:
                pixels, semantic = read_annotated(self._directory, image, self._window), self._read_semantic(image)
            except UserError as error:
                skipped.append(str(error))
            else:
                return self._augment(pixels, semantic, annotations, pick.seed, skipped)
        raise UserError(f"{MOST_SKIPPED} images in a row cannot be read; the first: {skipped[0]}")

    def _read_semantic(self, image: CocoImage) -> NDArray[np.uint8] | None:
        if self._semantic_directory is None:
            return None
        path = self._semantic_directory / self._map_name(image)
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.dtype != np.uint8 or labels.shape != (image.height, image.width):
            found = "no picture" if labels is None else f"{labels.dtype} {labels.shape}"
            raise UserError(f"{path}: is {found}, expected a class map, uint8 {(image.height, image.width)}")
        return labels.astype(np.uint8, copy=False)

    def _map_name(self, image: CocoImage) -> str:
        """The file name of an image's class map."""
        return locate(self._directory, image.file_name).with_suffix(".png").name

    def _augment(
        self,
        pixels: NDArray[np.uint8],
        semantic: NDArray[np.uint8] | None,
        annotations: Sequence[CocoAnnotation],
        seed: int,
        skipped: list[str],
    ) -> TrainingImage:
        height, width = pixels.shape[:2]
        random = np.random.default_rng(seed)
        side = int(random.choice(self._config.short_sides))
        shape = resize_shape(height, width, Preprocessing(short_side=side, long_side=self._config.long_side))
        pixels = resize(pixels, shape)
        if semantic is not None:
            semantic = resize_labels(semantic, shape)
        boxes = resize_boxes([a.bbox for a in annotations], (height, width), shape)
        masks = [resize_mask(a.segmentation, (height, width), shape, self._config.polygons) for a in annotations]
        for axis, probability in ((1, self._config.horizontal_flip), (0, self._config.vertical_flip)):
            if random.random() < probability:
                pixels = np.flip(pixels, axis)
                boxes = flip_boxes(boxes, shape, axis)
                masks = [flip_mask(mask, shape, axis) for mask in masks]
                semantic = np.flip(semantic, axis) if semantic is not None else None
        labels = torch.tensor([self._labels[a.category_id] for a in annotations])
        targets = ImageTargets(
            boxes=torch.from_numpy(boxes),
            labels=labels,
            masks=masks,
            seed=int(random.integers(2**63)),
            semantic=semantic,
        )
        return TrainingImage(pixels, targets, skipped)


def collate(samples: Sequence[TrainingImage]) -> TrainingBatch:
    """Pad the images of a batch to one canvas."""
    images, image_sizes = pad_batch([sample.pixels for sample in samples])
    return TrainingBatch(
        torch.from_numpy(images),
        torch.from_numpy(image_sizes),
        [sample.targets for sample in samples],
        [reason for sample in samples for reason in sample.skipped],
    )


def why_left_out(annotation: CocoAnnotation, image: CocoImage) -> str | None:
    """Why an object is not trained on, as words behind a number; None if it is."""
    x, y, width, height = annotation.bbox
    visible_width = min(x + width, image.width) - max(x, 0)
    visible_height = min(y + height, image.height) - max(y, 0)
    if annotation.iscrowd:
        return "crowds (iscrowd 1; if each is one object, write 0)"
    if not annotation.area > 0:
        return "objects without area (area 0)"
    if not (width >= 1 and height >= 1):
        return "objects with a box under a pixel (boxes are x, y, width, height in pixels)"
    if not (visible_width > 0 and visible_height > 0):
        return "objects outside their image"
    return None


def is_trainable(annotation: CocoAnnotation, image: CocoImage) -> bool:
    """Whether an object is no crowd, has an area, a box of at least a pixel, and lies in the image."""
    return why_left_out(annotation, image) is None


def resize_boxes(
    boxes: Sequence[tuple[float, float, float, float]], old: tuple[int, int], new: tuple[int, int]
) -> NDArray[np.float32]:
    """Boxes [G, 4] xyxy, clipped, in an image of (height, width) ``new``, from (x, y, w, h) in one of ``old``."""
    corners = np.array(boxes, np.float32)
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
    return resize_labels(coco_mask.decode(rle), new)


def resize_labels(labels: NDArray[np.uint8], new: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a map [h, w] of classes, or of 0 and 1, to (height, width) ``new``."""
    # Nearest neighbour at pixel centres: OpenCV's plain INTER_NEAREST shifts the map by up to half a pixel.
    resized = cv2.resize(labels, (new[1], new[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.astype(np.uint8, copy=False)


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
