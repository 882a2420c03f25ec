"""What a breakdown came to: every part's median time beside its work."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated

import tyro

from benchmarks.breakdown.operator_times import OperatorTimes
from benchmarks.harness.provenance import Provenance
from refinemask.options import require_at_least
from refinemask.spelling import Size


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How operators are timed."""

    canvas: Annotated[Size, tyro.conf.arg(name="size")] = (800, 1344)
    """Padded height and width, which exported files must have."""
    threads: int = 2
    """CPU threads of every engine."""
    warmup: int = 1
    """Runs before those that count."""
    rounds: int = 5
    """Runs of every engine."""

    def __post_init__(self) -> None:
        require_at_least(1, threads=self.threads, rounds=self.rounds)
        require_at_least(0, warmup=self.warmup)


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """Time and work of one part of a detector, or of all."""

    ms: float
    """Median milliseconds."""
    share: float
    """Share of the time of all operators, 0 to 1."""
    gflop: float
    """Billions of counted operations."""
    gflop_per_s: float


@dataclass(frozen=True, kw_only=True)
class EngineBreakdown:
    """One engine's operators by part; medians over the runs."""

    engine: str
    """File name and options, as on the command line."""
    name: str
    precision: str
    parts: dict[str, PartReport]
    """Parts by name, of :data:`benchmarks.breakdown.parts.PARTS`."""
    all: PartReport
    """All parts together."""
    between_ms: float
    """Milliseconds of a run beside its operators: the runtime and the recording."""

    @classmethod
    def of(cls, engine: str, times: OperatorTimes) -> "EngineBreakdown":
        """The medians of an engine's runs."""
        seconds = {part: median(run[part] for run in times.seconds) for part in times.seconds[0]}
        total = median(sum(run.values()) for run in times.seconds)
        return cls(
            engine=engine,
            name=times.name,
            precision=times.precision,
            parts={part: _part(spent, total, times.gflop.get(part, 0)) for part, spent in seconds.items()},
            all=_part(total, total, sum(times.gflop.values())),
            between_ms=round(1e3 * (median(times.wall) - total), 2),
        )


@dataclass(frozen=True, kw_only=True)
class BreakdownReport:
    """Engines on the same photograph, one after the other."""

    provenance: Provenance
    settings: Settings
    image: str
    """File name of the photograph."""
    foreign_load: float | None
    """Other processes' share of the CPUs during the runs."""
    engines: tuple[EngineBreakdown, ...]


def _part(seconds: float, total: float, gflop: float) -> PartReport:
    return PartReport(
        ms=round(1e3 * seconds, 3),
        share=round(seconds / total, 4),
        gflop=round(gflop, 3),
        gflop_per_s=round(gflop / seconds, 1) if seconds else 0.0,
    )
