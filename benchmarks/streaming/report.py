"""What the benchmark of the pipeline reports."""

from dataclasses import dataclass, field

from benchmarks.harness.provenance import Provenance
from benchmarks.harness.report_file import ABSENT_IF_NONE
from benchmarks.harness.summary import Quartiles, Ratio


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images per second of one route, in turns with others."""

    images_per_second: Quartiles
    samples: tuple[float, ...]
    """Images per second of each round."""


@dataclass(frozen=True, kw_only=True)
class Busy:
    """What the pipeline waited for."""

    limits: dict[str, int]
    """In how many rounds a stage was the busiest one."""
    shares: dict[str, float]
    """By stage, the median of the rounds of the share of its capacity that was busy, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class WaitingReport:
    """A detector that waits as for a GPU."""

    milliseconds: float
    """Time of an image on the device."""
    concurrency: int
    """Images that the device is given at the same time."""
    images: int
    """Number of images of a round."""
    serial: Speed
    """One image after the other."""
    streamed: Speed
    """The pipeline with its own plan."""
    alone: Speed
    """The device without decoding, resizing and pasting."""
    share: Ratio
    """Images per second of the pipeline over those of the device alone, paired per round."""
    gain: Ratio
    """Images per second of the pipeline over those of one image after the other, paired per round."""
    busy: Busy
    foreign_load: float | None = None
    """Other processes' share of the CPUs meanwhile."""


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """What the host does for an image, on one core."""

    milliseconds: dict[str, Quartiles]
    """Processor time of ``decode``, ``resize`` and ``paste``."""
    images_per_second: Quartiles
    """Images per second of processor time, of all three."""


@dataclass(frozen=True, kw_only=True)
class VideoReport:
    """A video through the pipeline."""

    seconds: float
    """Length of the video."""
    frames: int
    height: int
    width: int
    images_per_second: float
    """Frames per second of the whole pass."""
    limit: str
    """The busiest stage."""
    first_frames: int
    """Number of the frames after which memory is measured first."""
    peak_mib_first: int | None
    """Most memory until then, in MiB, libraries included; None where the system does not tell."""
    peak_mib: int | None
    """Most memory until the end of the video."""
    foreign_load: float | None = None
    """Other processes' share of the CPUs meanwhile."""


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """An engine on image files."""

    spec: str
    """The engine, as on the command line."""
    name: str
    """Its runtime."""
    precision: str
    images: int
    """Number of images of a round."""
    serial: Speed
    """One image after the other."""
    streamed: Speed
    """The pipeline with its own plan."""
    gain: Ratio
    """Images per second of the pipeline over those of one image after the other, paired per round."""
    busy: Busy | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What the pipeline waited for; None for an evaluation, which has its own pipeline."""
    peak_mib_serial: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Most memory before the pipeline ran for the first time, in MiB, libraries and weights included."""
    peak_mib_streamed: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Most memory in the end."""
    foreign_load: float | None = None
    """Other processes' share of the CPUs meanwhile."""


@dataclass(frozen=True, kw_only=True)
class StreamingReport:
    """All parts that were measured."""

    provenance: Provenance
    rounds: int
    threads: int
    """CPU threads of each engine."""
    masks: int
    """Objects that the waiting detector finds in an image."""
    waiting: tuple[WaitingReport, ...]
    host: HostReport
    video: VideoReport | None = field(default=None, metadata=ABSENT_IF_NONE)
    engines: tuple[EngineReport, ...] = ()
    evaluation: EngineReport | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Predictions of an evaluation, written to a file as they come: one image after the other against the pipeline."""

    @property
    def foreign_load(self) -> float | None:
        """The largest share of the CPUs that other processes had in a part; None where the system does not tell."""
        parts = (*self.waiting, *self.engines, *(part for part in (self.video, self.evaluation) if part is not None))
        return max((part.foreign_load for part in parts if part.foreign_load is not None), default=None)
