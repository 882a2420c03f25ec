"""How fast a detector trains: images per second and memory of whole iterations."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import cv2
import numpy as np
import torch

from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.engine_files import compiles
from benchmarks.gpu_suite.memory import free_memory
from benchmarks.gpu_suite.rounds import Spread
from benchmarks.gpu_suite.subjects import network_config
from benchmarks.harness.random_detector import randomize
from refinemask.bundled import PHOTOS
from refinemask.config import TrainConfig
from refinemask.data.coco import CocoAnnotation, CocoDataset, CocoImage, read_coco
from refinemask.data.geometry import resize_boxes
from refinemask.data.images import read_image
from refinemask.data.sampler import Pick
from refinemask.data.trainable import is_trainable
from refinemask.data.training import ImageTargets, TrainingDataset, TrainingImage
from refinemask.data.transforms import resize
from refinemask.modeling.detector import Detector
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.loop import Execution, Trainer

SIZE, TINY_SIZE = (800, 1333), (64, 96)
"""Height and width of every image in pixels."""
BATCHES = (2, 8)
WARM_UPS, STEPS = 3, 10
TINY_WARM_UPS, TINY_STEPS = 1, 2
EAGER_SECONDS, COMPILED_SECONDS = 15, 75
"""Least time that must be left."""
EPOCHS = 100
"""Epochs of the schedule, more than are run."""


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """One way to train."""

    batch: int
    compiled: bool
    """Whether backbone and FPN are compiled."""
    images_per_second: float
    step_ms: Spread
    """Milliseconds of an iteration, the transfer of its images included, their decoding not."""
    first_step_seconds: float
    """Seconds of the first iteration, compilation included."""
    peak_memory_bytes: int | None
    """Largest memory of PyTorch's tensors on the device; None on a CPU."""


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Training in bfloat16 on the bundled photographs, with ellipses in the objects' boxes as masks."""

    size: tuple[int, ...]
    """Height and width of the images in pixels."""
    objects: float
    """Mean number of objects of an image."""
    times: tuple[TrainingTime, ...]

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        return "images per second: " + ", ".join(
            f"batch {time.batch}{' compiled' if time.compiled else ''} {time.images_per_second:.1f}"
            for time in self.times
        )


def run_training(context: Context) -> TrainingReport:
    """Train a few iterations in every way."""
    size = TINY_SIZE if context.tiny else SIZE
    photos = Photographs(read_coco(PHOTOS / "annotations" / "instances_val.json"), size, classes=_classes(context))
    report = TrainingReport(size=size, objects=photos.objects, times=())
    for compiled in (False, True):
        for batch in BATCHES:
            name = f"batch {batch}{', compiled' if compiled else ''}"
            needed = 0 if context.tiny else COMPILED_SECONDS if compiled else EAGER_SECONDS
            found = context.attempt(name, partial(_train, context, photos, batch, compiled), seconds=needed)
            # Code for one size of batch must not become code for every size.
            torch._dynamo.reset()
            free_memory()
            if found is not None:
                report = replace(report, times=(*report.times, found))
                context.keep(report)
    if not report.times:
        raise NotRunError("no way to train ran")
    return report


def _classes(context: Context) -> int:
    return network_config(context, "refinemask").num_classes


class Photographs(TrainingDataset):
    """The bundled photographs in memory, all of one size, with ellipses in the boxes of their objects as masks.

    Polygons need a package that a bare machine lacks.
    """

    def __init__(self, coco: CocoDataset, size: tuple[int, int], classes: int) -> None:
        labels = coco.labels
        self._images = []
        for image in coco.images:
            objects = [a for a in coco.annotations[image.id] if is_trainable(a, image)]
            if objects:
                chosen = [labels[a.category_id] % classes for a in objects]
                self._images.append(_training_image(image, objects, chosen, size))
        self._ratio = size[1] / size[0]

    def __len__(self) -> int:
        return len(self._images)

    @property
    def objects(self) -> float:
        """Mean number of objects of an image."""
        return sum(len(image.targets.masks) for image in self._images) / len(self)

    @property
    def aspect_ratios(self) -> list[float]:
        """Width / height of every image."""
        return [self._ratio] * len(self)

    def __getitem__(self, pick: Pick) -> TrainingImage:
        image = self._images[pick.image]
        return image._replace(targets=replace(image.targets, seed=pick.seed))


def _training_image(
    image: CocoImage, objects: Sequence[CocoAnnotation], labels: Sequence[int], size: tuple[int, int]
) -> TrainingImage:
    boxes = resize_boxes([each.bbox for each in objects], (image.height, image.width), size)
    masks = []
    for x1, y1, x2, y2 in boxes.tolist():
        mask = np.zeros(size, np.uint8)
        cv2.ellipse(mask, (((x1 + x2) / 2, (y1 + y2) / 2), (max(x2 - x1, 1), max(y2 - y1, 1)), 0), 1, -1)
        masks.append(mask)
    targets = ImageTargets(boxes=torch.from_numpy(boxes), labels=torch.tensor(labels), masks=masks, seed=0)
    return TrainingImage(resize(read_image(PHOTOS / "images" / image.file_name), size), targets, [])


def _train(context: Context, photos: Photographs, batch: int, compiled: bool) -> TrainingTime:
    if compiled and not compiles(context):
        raise NotRunError("compiling takes a minute: where sizes are tiny, only with --part")
    device = torch.device(context.device)
    detector = randomize(Detector(network_config(context, "refinemask")), seed=0)
    execution = Execution(device=device, precision="bf16", channels_last=True, compile=compiled)
    config = TrainConfig(epochs=EPOCHS, batch_size=batch)
    trainer = Trainer(detector, photos, config, execution, fingerprint=Fingerprint.of([]))
    warm_ups, count = (TINY_WARM_UPS, TINY_STEPS) if context.tiny else (WARM_UPS, STEPS)
    if context.cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    with closing(trainer.steps()) as steps:
        start = time.perf_counter()
        # An iteration ends with its losses on the host, and so when the device is done with all but the update.
        for _ in islice(steps, warm_ups + count):
            now = time.perf_counter()
            seconds.append(now - start)
            start = now
    measured = seconds[warm_ups:]
    return TrainingTime(
        batch=batch,
        compiled=compiled,
        images_per_second=batch * len(measured) / sum(measured),
        step_ms=Spread.of([each * 1e3 for each in measured]),
        first_step_seconds=round(seconds[0], 2),
        peak_memory_bytes=torch.cuda.max_memory_allocated() if context.cuda else None,
    )
