"""Engines over detections, image size, batch and threads: all samples, and how the cost grows."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.provenance import Provenance
from benchmarks.harness.report import Estimate
from benchmarks.harness.report_file import ABSENT_IF_NONE
from benchmarks.harness.summary import Percentiles

PHASES = ("engine", "total")
"""What is timed: the network alone, and everything from files to results."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to run every engine."""

    size: tuple[int, int]
    """Padded (height, width) of every input."""
    batch: int
    """Images per batch."""
    threads: int
    """CPU threads of every engine."""
    detections: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Number of detections wanted in each image, partly covered to that end; None takes the images as they are."""

    def along(self, axis: str) -> int:
        """Pixels of an input, images of a batch or threads: where it lies along ``size``, ``batch`` or ``threads``."""
        return self.size[0] * self.size[1] if axis == "size" else int(getattr(self, axis))

    def __str__(self) -> str:
        wanted = "" if self.detections is None else f", {self.detections} detections"
        return f"{self.size[0]}x{self.size[1]}, batch {self.batch}, {self.threads} threads{wanted}"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One engine in one setting."""

    engine: str
    """File name and options, as on the command line."""
    detections: tuple[float, ...]
    """Mean number of detections of an image, in each round."""
    images_per_second: float
    """Images per second from files to results, by the median."""
    peak_memory_mib: float | None
    """Largest resident set of the process, which ran this setting alone; None where the system does not tell."""
    device_memory_mib: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """GPU memory; None on a CPU."""
    joules_per_image: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Energy of the device from file to results; None where it is not counted, or too coarsely."""
    latency_ms: dict[str, Percentiles]
    """Latency of a batch, by :data:`PHASES`."""
    samples_ms: dict[str, tuple[float, ...]]
    """One latency per round, by :data:`PHASES`."""


@dataclass(frozen=True, kw_only=True)
class SettingReport:
    """All engines in one setting."""

    setting: Setting
    foreign_load: float | None
    """Other processes' share of the CPUs during the rounds; None where the system does not tell."""
    points: tuple[Point, ...]
    """The engines that could run, in their order."""
    not_possible: dict[str, str]
    """Why an engine could not run, by the engine."""
    states: tuple[DeviceState, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The GPU at the end of each round; None on a CPU, and where nothing tells."""


@dataclass(frozen=True, kw_only=True)
class Cover:
    """An image of which only the right part is left, so that an engine finds fewer objects in it."""

    image: str
    """File name."""
    open_share: float
    """Share of the width that is not covered, 0 to 1."""
    found: int
    """Number of detections of the engine that tried it out."""
    wanted: int
    """Number of detections that it stands for."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the latency of an engine grows along one series, by a least-squares line through the settings' medians."""

    axis: str
    """``detections``, ``size``, ``batch`` or ``threads``."""
    engine: str
    phase: str
    slope: Estimate
    """Milliseconds per detection; along the other axes the exponent: the slope of log latency over log pixels, images
    or threads. The interval is that of the rounds' noise."""
    fixed_ms: Estimate | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Milliseconds without a detection; None along the other axes."""
    misfit: float
    """Largest distance of a median from the line, as a share of the line."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that must be the same for a measurement to be resumed."""

    engines: tuple[str, ...]
    """File names and options, as on the command line."""
    sha256: tuple[str, ...]
    """Hash of each engine's file."""
    images: tuple[str, ...]
    """File names of the images."""
    device: str
    rounds: int


@dataclass(frozen=True, kw_only=True)
class ScalingReport:
    """Engines that took turns within every setting."""

    provenance: Provenance
    inputs: Inputs
    covers: tuple[Cover, ...] = ()
    """The images of the numbers of detections."""
    series: dict[str, tuple[Setting, ...]]
    """The settings of each axis that has several; only what the axis names differs among them."""
    settings: tuple[SettingReport, ...] = ()
    growth: tuple[Growth, ...] = ()

    @property
    def foreign_load(self) -> float | None:
        """The highest of the settings' foreign loads; None where the system does not tell."""
        return max((each.foreign_load for each in self.settings if each.foreign_load is not None), default=None)

    def of(self, settings: Iterable[Setting], engine: str) -> list[tuple[Setting, Point]]:
        """The points of an engine in those of the settings that it could run, in the order of the settings."""
        measured = {each.setting: each.points for each in self.settings}
        return [(key, point) for key in settings for point in measured.get(key, ()) if point.engine == engine]
