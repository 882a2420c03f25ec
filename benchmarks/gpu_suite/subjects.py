"""The networks that are timed: the published architectures with random weights, and images that fill them or do not."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.gpu_suite.context import Context
from benchmarks.harness.random_detector import RECIPE, random_config, randomize
from refinemask.bundled import PHOTOS
from refinemask.config import (
    BackboneConfig,
    BoxHeadConfig,
    FCNMaskConfig,
    MaskHeadConfig,
    ModelConfig,
    Preprocessing,
    RefineMaskConfig,
    RPNConfig,
)
from refinemask.data.images import read_image
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.modeling.detector import Detector
from refinemask.weights import save_detector

Family = Literal["refinemask", "mask-rcnn"]
Crowd = Literal["many", "few"]
"""Number of an image's detections: ``many`` is as many as the network can give, ``few`` about a tenth of that."""

CROWDS: tuple[Crowd, ...] = ("many", "few")
HEADS: dict[Family, MaskHeadConfig] = {"refinemask": RefineMaskConfig(), "mask-rcnn": FCNMaskConfig()}

PHOTO = PHOTOS / "images" / "000000160012.jpg"
"""Photograph of many contrasts, on which random weights are sure of much."""
CANVAS, TINY_CANVAS = (800, 1344), (64, 96)
"""Height and width of the network's input."""
FEW = 10
"""Detections in a hundred that an image with few has."""
MARGIN = 0.95
"""Share of the hundredth score that the threshold is, so that rounding to half precision leaves a hundred."""
SEARCH_STEPS = 12


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with random weights and its images."""

    name: str
    """Display name, such as ``RefineMask R50``."""
    checkpoint: Path
    canvas: tuple[int, int]
    images: dict[Crowd, NetworkInput]

    def batch(self, crowd: Crowd, size: int) -> NetworkInput:
        """A batch of ``size`` copies of one image."""
        images, image_sizes, scale_factors = self.images[crowd]
        return NetworkInput(images.repeat(size, 0), image_sizes.repeat(size, 0), scale_factors.repeat(size, 0))


def subject(context: Context, family: Family) -> Subject:
    """A network and its images; they are made at the first call, and lie in the suite's scratch directory."""
    stem = context.scratch / f"{family}-random"
    checkpoint, stored = stem.with_suffix(".safetensors"), stem.with_suffix(".npz")
    if not stored.is_file():
        _make(context, family, checkpoint, stored)
    with np.load(stored) as arrays:
        images = {
            crowd: NetworkInput(*(arrays[f"{crowd}.{name}"] for name in NetworkInput._fields)) for crowd in CROWDS
        }
    name = "RefineMask" if family == "refinemask" else "Mask R-CNN"
    return Subject(name=f"{name} {depth(context)}", checkpoint=checkpoint, canvas=_canvas(context), images=images)


def depth(context: Context) -> str:
    """``R50``, or ``tiny`` where sizes are those that a CPU can walk."""
    return "tiny" if context.tiny else "R50"


def _canvas(context: Context) -> tuple[int, int]:
    return TINY_CANVAS if context.tiny else CANVAS


def _make(context: Context, family: Family, checkpoint: Path, stored: Path) -> None:
    """Write the checkpoint, whose score threshold lets the photograph fill every place, and the images."""
    config = network_config(context, family)
    detector = randomize(Detector(config), seed=0).to(context.device)
    many = preprocess([read_image(PHOTO)], config.preprocessing, _canvas(context))
    threshold = MARGIN * float(_scores(detector, many)[-1])
    few = _with_few(detector, many, threshold)
    box_head = replace(config.box_head, score_threshold=threshold)
    detector.config = replace(config, box_head=box_head)
    save_detector(detector.cpu(), checkpoint, recipe=RECIPE)
    images = {"many": many, "few": few}
    np.savez(stored, **{f"{crowd}.{name}": x for crowd, batch in images.items() for name, x in batch._asdict().items()})


def network_config(context: Context, family: Family) -> ModelConfig:
    """The published architecture without a score threshold, or one that a CPU can walk."""
    return _tiny_config(HEADS[family]) if context.tiny else random_config(HEADS[family])


def _tiny_config(mask_head: MaskHeadConfig) -> ModelConfig:
    if isinstance(mask_head, RefineMaskConfig):
        mask_head = replace(mask_head, instance_convs=1, semantic_convs=1)
    return ModelConfig(
        class_names=("square", "disk"),
        category_ids=(3, 7),
        preprocessing=Preprocessing(short_side=TINY_CANVAS[0], long_side=TINY_CANVAS[1]),
        backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8),
        fpn_channels=32,
        rpn=RPNConfig(candidates_per_level=60, proposals=40),
        box_head=BoxHeadConfig(hidden=32, score_threshold=0.0, detections=20, candidates=60),
        mask_head=mask_head,
    )


@torch.inference_mode()
def _scores(detector: Detector, batch: NetworkInput) -> torch.Tensor:
    """Scores of the detections of one image, descending; without a threshold they fill every place."""
    device = next(detector.parameters()).device
    images, image_sizes = (torch.from_numpy(array).to(device) for array in (batch.images, batch.image_sizes))
    return detector.detect(detector.features(images, image_sizes), image_sizes).scores[0]


def _with_few(detector: Detector, many: NetworkInput, threshold: float) -> NetworkInput:
    """The photograph with its contrast so reduced that about a tenth of the places have a score above the threshold."""
    wanted = max(1, round(detector.config.box_head.detections * FEW / 100))
    low, high, best, distance = 0.0, 1.0, many, detector.config.box_head.detections
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        faded = many._replace(images=(many.images * middle + 128 * (1 - middle)).astype(np.uint8))
        found = int((_scores(detector, faded) > threshold).sum())
        if abs(found - wanted) < distance:
            best, distance = faded, abs(found - wanted)
        low, high = (middle, high) if found < wanted else (low, middle)
    return best
