"""A RefineMask small enough for tests of the path around it, with scores far enough apart to compare by index."""

from benchmarks.harness.random_detector import randomize
from refinemask.config import BackboneConfig, BoxHeadConfig, ModelConfig, Preprocessing, RefineMaskConfig, RPNConfig
from refinemask.modeling.detector import Detector

TINY = ModelConfig(
    class_names=("square", "disk"),
    category_ids=(3, 7),
    preprocessing=Preprocessing(short_side=64, long_side=128),
    backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8),
    fpn_channels=32,
    rpn=RPNConfig(candidates_per_level=60, proposals=40),
    box_head=BoxHeadConfig(hidden=32, score_threshold=0.7, detections=12, candidates=60),
    mask_head=RefineMaskConfig(instance_convs=1, semantic_convs=1),
)


def make_tiny_detector(seed: int = 0) -> Detector:
    """:data:`TINY` with seeded random weights, in eval mode."""
    return randomize(Detector(TINY), seed)
