"""Reports of engines side by side that nobody measured."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.harness.provenance import provenance
from benchmarks.harness.report import ComparisonReport, DetectionCounts, EngineReport
from benchmarks.harness.settings import Settings
from benchmarks.harness.summary import Ratio

ENGINE = EngineReport(
    engine="mask-rcnn.onnx",
    name="ONNX Runtime",
    precision="fp32",
    fps=1,
    fps_end_to_end=1,
    speedup=Ratio(1, 1, 1, 1),
    speedup_end_to_end=Ratio(1, 1, 1, 1),
    detections_per_image=DetectionCounts(mean=100, min=100, max=100),
    padded_sizes={"800x1344": 1},
    peak_memory_mib=None,
    latency_ms={},
    samples_ms={},
)


def make_engine(**figures: Any) -> EngineReport:
    """:data:`ENGINE` with other figures."""
    return replace(ENGINE, **figures)


def make_comparison(engines: Sequence[EngineReport]) -> ComparisonReport:
    """These engines, as if they had taken turns."""
    return ComparisonReport(
        provenance=provenance(), settings=Settings(), foreign_load=0.0, batches=(), rounds=(), engines=tuple(engines)
    )
