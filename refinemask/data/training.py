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

from refinemask.config import STRIDE, DataConfig, Window
from refinemask.data.annotated import locate, read_annotated, require_files
from refinemask.data.augmentation import draw_shape, move
from refinemask.data.coco import CocoAnnotation, CocoDataset, CocoImage
from refinemask.data.colour import jitter_colour
from refinemask.data.copy_paste import copy_paste
from refinemask.data.example import Example
from refinemask.data.geometry import Bitmap, Polygons, resize_boxes, resize_labels, resize_mask
from refinemask.data.lvis import repeat_factors
from refinemask.data.sampler import Pick
from refinemask.data.trainable import SMALLEST_SIDE, why_left_out
from refinemask.data.transforms import pad_batch, resize
from refinemask.files import UserError

MOST_SKIPPED = 10
"""Number of unreadable images in a row that is no accident, and ends the training."""


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


@dataclass(frozen=True, kw_only=True)
class TrainingCounts:
    """What of a data set is trained on."""

    images: int
    """Number of images that are trained on, each counted once."""
    background_images: int
    """Number of those images that have no object."""
    objects: dict[int, int]
    """Number of objects that are trained on, by category id."""
    left_out: dict[str, int]
    """Number of images and objects that are not trained on, by the reason in words, the most frequent first."""


class TrainingDataset(Dataset[TrainingImage]):
    """The images of a COCO file that can be trained on, augmented as a ``Pick``'s seed says.

    Crowds and boxes without area or outside the image are dropped, and then images without any object. An image that
    never had an object is kept as a negative if the configuration says so. One that lost all of its objects is not,
    because the detector would learn that there is nothing. An image that cannot be read is replaced by the next, so
    that one bad file does not end a run of days.
    """

    def __init__(
        self,
        coco: CocoDataset,
        image_dir: str | os.PathLike[str],
        config: DataConfig,
        semantic_dir: str | os.PathLike[str] | None = None,
        images_option: str = "--data-root",
        window: Window | None = None,
    ) -> None:
        """List the images that can be trained on.

        Args:
            coco: the annotations.
            image_dir: folder of the images' files.
            config: the augmentation.
            semantic_dir: folder of the images' class maps; None if nothing learns from them.
            images_option: option of the command line that names ``image_dir``, for errors.
            window: how images of more than 8 bits become images of 8; None takes images of 8 bits only.

        Raises:
            UserError: no image can be trained on, or a file of one is missing.
        """
        self._config = config
        self._window = window
        self._directory = Path(image_dir)
        self._semantic_directory = Path(semantic_dir) if semantic_dir is not None else None
        self._labels = coco.labels
        self._entries, left_out = _entries(coco, config.background_images)
        self.counts: TrainingCounts = TrainingCounts(
            images=len(self._entries),
            background_images=sum(not annotations for _, annotations in self._entries),
            objects=Counter(a.category_id for _, annotations in self._entries for a in annotations),
            left_out=dict(left_out.most_common()),
        )
        """How much is trained on."""
        if not self.counts.objects:
            raise UserError(
                f"{coco.path}: none of its {len(coco.images)} images has an object to train on: "
                f"{self.left_out or 'they have no annotations'}"
            )
        require_files([image for image, _ in self._entries], self._directory, coco.path, images_option)
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
    def left_out(self) -> str:
        """What is not trained on and why, in a few words; empty if that is nothing."""
        return ", ".join(f"{count} {reason}" for reason, count in self.counts.left_out.items())

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
        random, augmentation = np.random.default_rng(pick.seed), self._config.augmentation
        example = self._example(pick.image, random, skipped)
        if augmentation.copy_paste and random.random() < augmentation.copy_paste:
            source = self._example(int(random.integers(len(self))), random, skipped)
            example = copy_paste(example, source, random)
        pixels = example.pixels
        if augmentation.colour:
            pixels = jitter_colour(pixels, augmentation.colour, random)
        targets = ImageTargets(
            boxes=torch.from_numpy(example.boxes),
            labels=torch.from_numpy(example.labels),
            masks=example.masks,
            seed=int(random.integers(2**63)),
            semantic=example.semantic,
        )
        return TrainingImage(pixels, targets, skipped)

    def _example(self, index: int, random: np.random.Generator, skipped: list[str]) -> Example:
        """An image, or the next one that can be read, resized, flipped, turned and cropped at random.

        Why images cannot be read is added to ``skipped``.
        """
        before, most = len(skipped), min(MOST_SKIPPED, len(self))
        for offset in range(most):
            image, annotations = self._entries[(index + offset) % len(self)]
            try:
                pixels, semantic = read_annotated(self._directory, image, self._window), self._read_semantic(image)
            except UserError as error:
                skipped.append(str(error))
            else:
                return move(self._resized(pixels, semantic, annotations, random), self._config, random)
        raise UserError(f"{most} images in a row cannot be read; the first: {skipped[before]}")

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

    def _resized(
        self,
        pixels: NDArray[np.uint8],
        semantic: NDArray[np.uint8] | None,
        annotations: Sequence[CocoAnnotation],
        random: np.random.Generator,
    ) -> Example:
        old = pixels.shape[0], pixels.shape[1]
        new = draw_shape(*old, self._config, random)
        return Example(
            pixels=resize(pixels, new),
            boxes=resize_boxes([a.bbox for a in annotations], old, new),
            labels=np.array([self._labels[a.category_id] for a in annotations], np.int64),
            masks=[resize_mask(a.segmentation, old, new, self._config.polygons) for a in annotations],
            semantic=None if semantic is None else resize_labels(semantic, new),
        )


def _entries(
    coco: CocoDataset, background_images: bool
) -> tuple[list[tuple[CocoImage, list[CocoAnnotation]]], Counter[str]]:
    """The images to train on with their objects, and the number of what is left out by reason."""
    entries, left_out = [], Counter[str]()
    for image in coco.images:
        listed = coco.annotations[image.id]
        reasons = [why_left_out(annotation, image) for annotation in listed]
        left_out.update(reason for reason in reasons if reason is not None)
        annotations = [a for a, reason in zip(listed, reasons, strict=True) if reason is None]
        is_background = not listed and image.id not in coco.incomplete
        if min(image.height, image.width) < SMALLEST_SIDE:
            left_out[f"images under {SMALLEST_SIDE} pixels"] += 1
        elif annotations or (is_background and background_images):
            entries.append((image, annotations))
        elif is_background:
            left_out["images without annotations (--background-images keeps them)"] += 1
        else:
            left_out["images of which every object is left out"] += 1
    return entries, left_out


def collate(samples: Sequence[TrainingImage]) -> TrainingBatch:
    """Pad the images of a batch to one canvas, of more than one cell of the backbone's last stage.

    Of a single value, batch norm has no variance.
    """
    images, image_sizes = pad_batch([sample.pixels for sample in samples])
    if images.shape[2:] == (STRIDE, STRIDE):
        images = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, STRIDE)))
    return TrainingBatch(
        torch.from_numpy(images),
        torch.from_numpy(image_sizes),
        [sample.targets for sample in samples],
        [reason for sample in samples for reason in sample.skipped],
    )
