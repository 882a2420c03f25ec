"""What the exact savings came to: each on its own, and the whole mask head with all that are used everywhere."""

from dataclasses import dataclass

from benchmarks.harness.provenance import Provenance
from benchmarks.harness.summary import Ratio
from refinemask.options import require_at_least


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How savings are measured."""

    height: int = 800
    """Padded height of the image."""
    width: int = 1344
    """Padded width of the image."""
    detections: int = 100
    """Number of detections that the model can give."""
    rounds: int = 12
    """Number of rounds, each with as many objects as the next bundled photograph."""
    threads: int = 1
    """CPU threads."""

    def __post_init__(self) -> None:
        require_at_least(1, rounds=self.rounds)


@dataclass(frozen=True)
class OffOn:
    """A figure without a saving and with it."""

    off: float
    on: float


@dataclass(frozen=True)
class OffOnSamples:
    """Samples of every round, without a saving and with it."""

    off: tuple[float, ...]
    on: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SavingReport:
    """One saving on its own."""

    number: int
    """Place in :data:`benchmarks.savings.catalogue.SAVINGS`, from 1."""
    name: str
    exactness: str
    """``bit-exact`` or ``algebraic``."""
    used: str
    """Place in the product that has the saving."""
    gflop: OffOn
    """Billions of counted operations, mean of the rounds."""
    ms: OffOn
    """Median CPU time of all threads, in milliseconds."""
    largest_relative_difference: float
    """Largest difference of a value, relative to the largest value."""
    bit_equal: bool
    samples_ms: OffOnSamples


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """The whole mask head in one runtime, plain and with all savings that are used everywhere."""

    runtime: str
    ms: OffOn
    """Median CPU time of all threads, in milliseconds."""
    speedup: Ratio
    """Times without the savings over times with them, paired per round."""
    changed_pixels: int
    """Mask pixels that the savings put on the other side of one half."""
    pixels: int
    """Number of mask pixels."""


@dataclass(frozen=True, kw_only=True)
class SavingsReport:
    """All savings that a CPU can show, and the whole head."""

    provenance: Provenance
    settings: Settings
    foreign_load: float | None
    """Other processes' share of the CPUs during the rounds."""
    savings: tuple[SavingReport, ...]
    heads: tuple[HeadReport, ...]
