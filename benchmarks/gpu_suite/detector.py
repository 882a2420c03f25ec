"""The PyTorch detector with the kernels in place of the eager operators: the same detections, in less time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.subjects import PHOTO, subject
from benchmarks.gpu_suite.timing import Timer
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.float32 import float32_products
from refinemask.modeling.detector import Detector
from refinemask.structures import Detections
from refinemask.weights import load_detector
from trt_plugins import torch_ops
from trt_plugins.c_api import Kernels

NUCLEI_MODEL = DEMO / "weights" / "refinemask-nuclei.safetensors"
IMAGES = 24
"""Number of images whose detections are compared."""
SMALL_DIFFERENCE = 1e-3
"""Difference in pixels, scores and probabilities that float32 sums of another order make at the network's end."""


@dataclass(frozen=True, kw_only=True)
class DetectorReport:
    """A detector with the kernels beside the same one with the eager operators."""

    detections: int
    """Number of detections with the eager operators, over all images."""
    agree: int
    """Number of detections whose label, box, score and mask are the same with the kernels."""
    eager_us: float
    """Median microseconds of the first image with the eager operators."""
    kernels_us: float
    """Median microseconds of the first image with the kernels."""

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        return (
            f"{self.agree} of {self.detections} detections as without the kernels; "
            f"{self.kernels_us:.0f} µs with them, {self.eager_us:.0f} µs without"
        )


def run_detector(context: Context) -> DetectorReport:
    """The nuclei model on its own images; a tiny model where sizes are tiny.

    Raises:
        NotRunError: there are no kernels here.
    """
    kernels = context.kernels().kernels
    if context.tiny:
        checkpoint, images = subject(context, "refinemask").checkpoint, [PHOTO]
    else:
        checkpoint, images = NUCLEI_MODEL, sorted((NUCLEI / "images").iterdir())[:IMAGES]
    model = load_detector(checkpoint, device=context.device)
    return compare_operators(model, images, kernels, context.timer(rounds=20), context.device)


def compare_operators(
    detector: Detector, images: Sequence[Path], kernels: Kernels, timer: Timer, device: str = "cuda"
) -> DetectorReport:
    """Detections and times of the detector, on each image alone, with the eager operators and with the kernels."""
    torch_ops.enable(kernels, device)
    inputs = [_load(detector, path, device) for path in images]
    # TensorFloat-32 would make a thousandth of the rounding of a sum.
    with torch.inference_mode(), float32_products(tf32=False):
        pairs = []
        for image in inputs:
            with torch_ops.disabled(device):
                expected = detector(*image).numpy()
            pairs.append((expected, detector(*image).numpy()))
        with torch_ops.disabled(device):
            eager = timer([lambda: detector(*inputs[0])], graph=False)
        own = timer([lambda: detector(*inputs[0])], graph=False)
    return DetectorReport(
        detections=sum(int(expected.num_detections.sum()) for expected, _ in pairs),
        agree=sum(count_agreeing(expected, found) for expected, found in pairs),
        eager_us=eager.p50,
        kernels_us=own.p50,
    )


def _load(detector: Detector, path: Path, device: str) -> tuple[Tensor, Tensor]:
    arrays = preprocess([read_image(path)], detector.config.preprocessing)
    images, sizes = (torch.from_numpy(array).to(device) for array in arrays[:2])
    return images, sizes


def count_agreeing(expected: Detections, found: Detections) -> int:
    """Number of detections that are the same at the same rank; two that change places count as different."""
    real = np.arange(expected.scores.shape[1]) < expected.num_detections[:, None]
    same = real & (expected.labels == found.labels)
    for a, b in ((expected.boxes, found.boxes), (expected.scores, found.scores), (expected.masks, found.masks)):
        difference = np.abs(a - b)
        same &= difference.reshape(*real.shape, -1).mean(axis=2) <= SMALL_DIFFERENCE
    return int(same.sum())
