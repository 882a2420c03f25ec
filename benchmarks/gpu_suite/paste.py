"""Pasting and run lengths on the device: the host's strings byte for byte, and the time until the host has them."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.timing import CpuTimer, Timing
from benchmarks.harness.random_detections import random_detections
from engines.on_device import RUNS_PER_COLUMN, paste_rle
from refinemask.coco_strings import coco_string
from refinemask.files import FailedCheckError
from refinemask.masks import paste_runs

MASKS, MASK_SIZE = 100, 112
IMAGE, TINY_IMAGE = (800, 1333), (50, 70)
"""Height and width of the image in pixels."""
ROTATION = 4
"""Number of sets of masks that take turns."""


@dataclass(frozen=True, kw_only=True)
class PasteReport:
    """Masks of one image, pasted and encoded."""

    masks: int
    """Number of masks of the image that is timed."""
    height: int
    width: int
    compared: int
    """Number of strings that were compared with the host's, awkward boxes among them."""
    identical: int
    """Number of strings that are the host's byte for byte."""
    string_bytes: int
    """Bytes of the timed image's strings."""
    device: Timing
    """Microseconds of the kernels alone."""
    wall: Timing
    """Microseconds from masks in the device's memory to strings in the host's."""
    host: Timing
    """Microseconds of the run lengths of masks in host memory on one CPU thread, without making strings of them."""

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        return (
            f"{self.identical} of {self.compared} strings are the host's; {self.masks} masks take "
            f"{self.device.p50:.0f} µs on the device, {self.wall.p50:.0f} µs until they are here, "
            f"{self.host.p50:.0f} µs on the host"
        )


def run_paste(context: Context) -> PasteReport:
    """Compare the strings, then time the way from the device's memory to the host's.

    Raises:
        NotRunError: there are no kernels here.
        FailedCheckError: a string differs; the report is kept.
    """
    kernels, device = context.kernels(), context.device
    height, width = TINY_IMAGE if context.tiny else IMAGE
    count, size = (10, 14) if context.tiny else (MASKS, MASK_SIZE)
    sets = [random_detections(count, height, width, mask_size=size, seed=seed) for seed in range(ROTATION)]
    awkward = sets[0][0], awkward_boxes(sets[0][1], height, width)
    encode = partial(paste_rle, kernels, height=height, width=width)
    there = [(masks.to(device), boxes.to(device)) for masks, boxes in (*sets, awkward)]
    found = [rle["counts"] for each in there for rle in encode(*each)]
    expected = [string for each in (*sets, awkward) for string in host_strings(*each, height, width)]
    there.pop()
    capacity, shapes = RUNS_PER_COLUMN * width, [(height, width)]
    kernel_work = [partial(kernels.paste_rle, m[None], b[None], shapes, capacity=capacity) for m, b in there]
    clock = CpuTimer(2, 1) if context.tiny else CpuTimer(30, 5)
    report = PasteReport(
        masks=count,
        height=height,
        width=width,
        compared=len(expected),
        identical=sum(ours == theirs for ours, theirs in zip(found, expected, strict=True)),
        string_bytes=sum(map(len, found[:count])),
        device=context.timer()(kernel_work),
        wall=clock([partial(encode, *each) for each in there]),
        host=clock([partial(paste_runs, m.numpy(), b.numpy(), height, width) for m, b in sets[:1]]),
    )
    if report.identical < report.compared:
        context.keep(report)
        raise FailedCheckError(report.headline)
    return report


def awkward_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """The boxes with others among them: the whole image, empty, thin, outside, upside down, far larger."""
    special = torch.tensor(
        [
            [0, 0, width, height],
            [5, 5, 5, 5],
            [3.25, 0, 3.5, height],
            [-80, -90, -10, -20],
            [width + 5, 3, width + 40, 20],
            [30, 20, 10, 40],
            [-3 * width, -3 * height, 4 * width, 4 * height],
            [10.5, 7.5, 11.5, 8.5],
        ],
        dtype=torch.float32,
    )
    return torch.cat([special, boxes])[: len(boxes)]


def host_strings(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """The strings of ``refinemask.masks.paste_rle``, which this makes without pycocotools."""
    runs = paste_runs(masks.numpy(), boxes.numpy(), height, width)
    return [coco_string(lengths.tolist()) for lengths in runs]
