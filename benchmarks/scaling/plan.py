"""What is measured: the command's options, and the settings that follow from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.harness.provenance import cpu
from benchmarks.harness.settings import require_padded
from benchmarks.scaling.report import Setting
from refinemask.config import Preprocessing
from refinemask.contract import STRIDE
from refinemask.data.transforms import resize_shape
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.spelling import Engines, OptionalOutput, Size

LEAST_ROUNDS = 6
"""Fewer rounds bound no interval of a median."""
SHARES = (1, 0.75, 0.5)
"""Sides of the default sizes, as shares of what the images need."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Measure latency, throughput and memory of engines over detections, image size, batch and threads.

    One of the four varies at a time, and the others stay at the first value of their lists. The images of fewer
    detections are made by covering a part of each image; what an engine then finds is what counts.
    """

    engines: Engines
    """Engines, PATH[@BACKEND[:PRECISION]] each, of one model."""
    images: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH…")]
    """Images, or directories of images."""
    limit: int = 4
    """Number of the first images by name to use, over and over where a batch needs more."""
    detections: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT…")] = (0, 1, 5, 10, 20, 50, 100)
    """Numbers of detections wanted in an image."""
    sizes: Annotated[tuple[Size, ...] | None, tyro.conf.arg(metavar="HxW…")] = None
    """Padded heights and widths; if not given, what the images need, three quarters and half of it."""
    batches: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT…")] = (1, 2, 4)
    """Images per batch."""
    threads: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="INT…")] = None
    """CPU threads of every engine; if not given, all cores, half of them, and so on to 1."""
    device: str = "cpu"
    """Device, cpu or cuda."""
    rounds: int = 20
    """Batches to time every engine on in each setting, 6 or more."""
    latency: Annotated[float | None, tyro.conf.arg(metavar="MS")] = None
    """Bound on the latency of a batch in ms, from files to results: names the setting with the highest throughput that
    keeps it. Exit code 3 if none does."""
    trust_engine: bool = False
    """Whether to load TensorRT engines without a sidecar, too: an engine can run any code."""
    output: OptionalOutput = None
    """JSON file for the report with all samples; the figure lies beside it as .png and .svg."""
    resume: bool = False
    """Whether to keep the settings that the output already has, if its inputs were the same."""

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit, batches=min(self.batches, default=0))
        require_at_least(1, threads=min(self.threads or (1,)), engines=len(self.engines))
        require_at_least(0, detections=min(self.detections, default=0))
        require_at_least(LEAST_ROUNDS, rounds=self.rounds)
        for size in self.sizes or ():
            require_padded("--sizes has", size)
        if self.latency is not None and not self.latency > 0:
            raise UserError(f"--latency is {self.latency:g}; expected milliseconds above 0")
        if self.resume and self.output is None:
            raise UserError("--resume goes on from the output; name it (-o FILE)")


def series(plan: Plan, needed: tuple[int, int]) -> dict[str, tuple[Setting, ...]]:
    """The settings of each axis that has several values; ``base`` is the one that all of them begin from.

    Args:
        plan: the options.
        needed: padded (height, width) that the images need.
    """
    sizes, threads = plan.sizes or default_sizes(needed), plan.threads or default_threads(cpu().cores or 1)
    base = Setting(size=sizes[0], batch=plan.batches[0], threads=threads[0])
    values: dict[str, Sequence[object]] = {
        "detections": sorted(set(plan.detections)),
        "size": sizes,
        "batch": plan.batches,
        "threads": threads,
    }
    varied = {axis: tuple(replace(base, **{axis: value}) for value in dict.fromkeys(values[axis])) for axis in values}  # type: ignore[arg-type]
    return {"base": (base,)} | {axis: settings for axis, settings in varied.items() if len(settings) > 1}


def needed_size(shapes: Sequence[tuple[int, int]], preprocessing: Preprocessing) -> tuple[int, int]:
    """The padded (height, width) into which images of these (height, width) fit once they are resized."""
    resized = [resize_shape(height, width, preprocessing) for height, width in shapes]
    height, width = (-(-max(sides) // STRIDE) * STRIDE for sides in zip(*resized, strict=True))
    return height, width


def default_sizes(needed: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Sizes from what is needed down to half of it, in multiples of the stride."""
    height, width = (side // STRIDE for side in needed)
    sizes = [(math.ceil(share * height) * STRIDE, math.ceil(share * width) * STRIDE) for share in SHARES]
    return tuple(dict.fromkeys(sizes))


def default_threads(cores: int) -> tuple[int, ...]:
    """All cores, half of them, and so on to one."""
    return (cores, *default_threads(cores // 2)) if cores > 1 else (1,)
