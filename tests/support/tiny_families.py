"""The tiny detector with the mask head of each family."""

from dataclasses import replace

from benchmarks.harness.random_detector import randomize
from refinemask.config import FCNMaskConfig, HTCConfig, MaskHeadConfig, PointRendConfig, RefineMaskConfig
from refinemask.modeling.detector import Detector
from tests.support.tiny_detector import TINY

MASK_HEADS: dict[str, MaskHeadConfig] = {
    "RefineMask": RefineMaskConfig(instance_convs=1, semantic_convs=1),
    "simple RefineMask": RefineMaskConfig(variant="simple", instance_convs=1, semantic_convs=1),
    "Mask R-CNN": FCNMaskConfig(convs=1),
    "PointRend": PointRendConfig(hidden=32),
    "HTC": HTCConfig(convs=1),
}
"""Mask heads by the names of their families, small ones."""


def make_tiny_family(name: str, seed: int = 0) -> Detector:
    """The tiny detector with a mask head of :data:`MASK_HEADS`, seeded random weights, in eval mode."""
    return randomize(Detector(replace(TINY, mask_head=MASK_HEADS[name])), seed)
