"""Problems and a detector at sizes that a CPU can walk; their figures mean nothing."""

from dataclasses import replace

from benchmarks.gpu_suite.cases import BOX_HEAD, MERGE_CASES, NMS_CASES, SEMANTIC
from benchmarks.harness.random_detector import randomize
from refinemask.config import BackboneConfig, BoxHeadConfig, ModelConfig, Preprocessing, RefineMaskConfig, RPNConfig
from refinemask.modeling.detector import Detector

TINY_ROI_ALIGN_CASES = tuple(
    replace(case, name=f"tiny {case.name}", channels=8, rois=5, image=(64, 96)) for case in (BOX_HEAD, SEMANTIC[0])
)
TINY_NMS_CASES = tuple(replace(case, name=f"tiny {case.name}", boxes=60, k=20) for case in NMS_CASES)
TINY_MERGE_CASES = tuple(replace(case, rois=2, size=size) for case, size in zip(MERGE_CASES, (8, 14), strict=True))

TINY_CONFIG = ModelConfig(
    class_names=("square", "disk"),
    category_ids=(1, 2),
    preprocessing=Preprocessing(short_side=64, long_side=96),
    backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8),
    fpn_channels=32,
    rpn=RPNConfig(candidates_per_level=60, proposals=40),
    box_head=BoxHeadConfig(hidden=32, score_threshold=0.0, detections=12, candidates=60),
    mask_head=RefineMaskConfig(instance_convs=1, semantic_convs=1),
)
"""RefineMask that takes 64×96 pixels and always gives twelve detections."""


def tiny_detector() -> Detector:
    """:data:`TINY_CONFIG` with seeded random weights, in eval mode on the CPU."""
    return randomize(Detector(TINY_CONFIG), seed=0)
