"""The evaluators by name, and one evaluation in a process of its own."""

import importlib
import importlib.util
import io
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from benchmarks.harness.load import peak_memory_bytes
from refinemask.evaluation.coco import IoUType

Figures = dict[str, dict[str, float]]
"""Figures by kind of overlap, then by name."""
Name = Literal["ours", "pycocotools", "faster-coco-eval", "hotcoco", "vernier"]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """An evaluator."""

    module: str
    """Module of this package that calls it."""
    distribution: str
    """The distribution, by which it is installed."""
    package: str
    """The package, by which it is imported."""
    boundaries: bool
    """Whether it has boundary AP."""

    def why_not(self, iou_types: Sequence[IoUType]) -> str | None:
        """Why it cannot give these figures; None if it can."""
        if importlib.util.find_spec(self.package) is None:
            return f"is not installed; pip install {self.distribution}"
        return "has no boundary AP" if "boundary" in iou_types and not self.boundaries else None

    @property
    def version(self) -> str:
        """The installed version."""
        return metadata.version(self.distribution)


CONTENDERS: dict[Name, Contender] = {
    "ours": Contender(module="ours", distribution="refinemask", package="refinemask", boundaries=True),
    "pycocotools": Contender(
        module="by_pycocotools", distribution="pycocotools", package="pycocotools", boundaries=False
    ),
    "faster-coco-eval": Contender(
        module="by_faster_coco_eval", distribution="faster-coco-eval", package="faster_coco_eval", boundaries=True
    ),
    "hotcoco": Contender(module="by_hotcoco", distribution="hotcoco", package="hotcoco", boundaries=False),
    "vernier": Contender(module="by_vernier", distribution="vernier", package="vernier", boundaries=True),
}
"""The evaluators."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation, the reading of both files included, and the import of the evaluator not."""

    figures: Figures
    seconds: float
    """Wall-clock time."""
    processor_seconds: float
    """Processor time of all threads."""
    peak_mib: int | None
    """Most memory that the process held, in MiB, its libraries included; None where the system does not tell."""


def run(name: Name, annotations: Path, results: Path, iou_types: Sequence[IoUType], max_detections: int) -> Run:
    """Evaluate in this process; what the evaluator prints is dropped."""
    module = importlib.import_module(f"benchmarks.evaluators.{CONTENDERS[name].module}")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        wall, processor = time.perf_counter(), time.process_time()
        figures = module.figures(annotations, results, iou_types, max_detections)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = peak_memory_bytes()
    return Run(
        figures=figures,
        seconds=round(wall, 3),
        processor_seconds=round(processor, 3),
        peak_mib=None if peak is None else peak >> 20,
    )
