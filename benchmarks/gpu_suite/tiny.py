"""The kernels' problems at sizes that a CPU can walk; their figures mean nothing."""

from dataclasses import replace

from benchmarks.gpu_suite.cases import (
    BOX_HEAD,
    LABEL_LOGITS_CASES,
    MERGE_CASES,
    NMS_CASES,
    PROPOSALS_CASES,
    SEMANTIC,
    TOP_K_CASES,
)

TINY_ROI_ALIGN_CASES = tuple(
    replace(case, name=f"tiny {case.name}", channels=8, rois=5, image=(64, 96)) for case in (BOX_HEAD, SEMANTIC[0])
)
TINY_NMS_CASES = tuple(replace(case, name=f"tiny {case.name}", boxes=60, k=20) for case in NMS_CASES)
TINY_TOP_K_CASES = (
    TOP_K_CASES[2],
    replace(TOP_K_CASES[-2], scores=100, k=20),
    replace(TOP_K_CASES[-1], scores=6100, k=20, segments=(6000, 100)),
)
TINY_MERGE_CASES = tuple(replace(case, rois=2, size=size) for case, size in zip(MERGE_CASES, (8, 14), strict=True))
TINY_PROPOSALS_CASES = (replace(PROPOSALS_CASES[0], batch=2, k=20, image=(64, 96)),)
TINY_LABEL_LOGITS_CASES = tuple(replace(case, rois=3, channels=16, size=4) for case in LABEL_LOGITS_CASES[:2])
