"""Engines side by side: latencies in milliseconds, memory in MiB, raw samples and all that is needed to judge them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.measure import EngineRun, Measurement
from benchmarks.harness.pipeline import PHASES
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import ABSENT_IF_NONE
from benchmarks.harness.settings import Settings
from benchmarks.harness.summary import Percentiles, Ratio, paired_ratio, percentiles

Accuracy = dict[str, dict[str, float]]
"""Metrics by what they judge (``bbox``, ``segm``, ``boundary``, ``ap_star``); average precisions in 0..1."""


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95 % confidence interval over images."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class AccuracyDetail:
    """What stands behind an engine's accuracy, by kind of overlap (``bbox``, ``segm``, ``boundary``), in 0..1."""

    ap: dict[str, Estimate]
    """AP."""
    change: dict[str, Estimate] = field(default_factory=dict)
    """AP minus the first engine's, by the same resamples; empty for the first engine."""
    per_class: dict[str, dict[str, float]]
    """AP by the class's name, -1 for a class without objects."""
    precision_recall: dict[str, dict[str, tuple[float, ...]]]
    """Precision at the 101 recalls 0, 0.01 … 1, the mean over the classes, by name: AP50, AP75, and AP for the mean
    over all IoU thresholds."""


@dataclass(frozen=True)
class DetectionCounts:
    """Number of detections per image."""

    mean: float
    min: int
    max: int


@dataclass(frozen=True, kw_only=True)
class EngineReport:
    """What one engine did."""

    engine: str
    """File name and options, as on the command line."""
    name: str
    """Runtime, such as ``PyTorch``."""
    precision: str
    fps: float
    """Images per second of the engine phase, by its median."""
    fps_end_to_end: float
    """Images per second of all phases together, by their median."""
    speedup: Ratio
    """Ratio to the first engine in the engine phase."""
    speedup_end_to_end: Ratio
    """Ratio to the first engine in all phases together."""
    detections_per_image: DetectionCounts
    padded_sizes: dict[str, int]
    """Number of batches by HEIGHTxWIDTH of the network's input."""
    peak_memory_mib: float | None
    """Largest resident set of the engine's process; None where the system does not tell."""
    device_memory_mib: float | None = None
    """GPU memory; None on a CPU."""
    joules: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Energy that the device counted in all turns of the engine, idle power included; None where it is not counted, or
    too coarsely for these turns, and in reports of versions before 0.8."""
    joules_per_image: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The same for one image, from its file to its results."""
    latency_ms: dict[str, Percentiles]
    """Latencies of a batch by phase, ``total`` included."""
    samples_ms: dict[str, tuple[float, ...]]
    """One latency per round by phase."""
    accuracy: Accuracy | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Figures of the detections; None if only speed was measured."""
    detail: AccuracyDetail | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What stands behind them; None if only speed was measured, and in reports of versions before 0.8."""


@dataclass(frozen=True, kw_only=True)
class OtherReport:
    """A detector that was not run: its results are those of a file, and of its speed there is only what was stated."""

    engine: str
    """File name and name, as on the command line."""
    name: str
    stated_latency_ms: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The network's time for an image as it was stated, on whatever machine; None if nothing was."""
    stated_fps: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Images per second by the stated latency."""
    stated_speedup: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The first engine's median time for an image in the engine phase over the stated latency."""
    detections_per_image: DetectionCounts
    images_without_results: int
    """Number of images that the file does not name."""
    accuracy: Accuracy
    """Figures of the results; of boxes alone if they have no masks."""
    detail: AccuracyDetail | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What stands behind them."""


@dataclass(frozen=True)
class RoundReport:
    """One batch through every engine."""

    batch: int
    """Index of the batch."""
    order: tuple[int, ...]
    """Indices of the engines in the order they ran."""
    foreign_load: float | None
    """Other processes' share of the CPUs during the round."""
    state: DeviceState | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The GPU at the round's end; None on a CPU, where nothing tells, and in reports of versions before 0.8."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Whether one engine met one requirement."""

    requirement: str
    """The requirement, as on the command line."""
    engine: str
    """The engine, as in its report."""
    met: bool
    value: float | None
    """The figure, in the unit of the requirement; None if there is none."""
    judged: float | None
    """What was judged: the worse end of the figure's 95 % interval, or the figure where it has no interval by nature;
    None if it cannot be judged."""
    reason: str | None = None
    """Why it cannot be judged."""


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """Engines that took turns over the same images."""

    provenance: Provenance
    command: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """The command line that measured it; None where a function was called."""
    settings: Settings
    foreign_load: float | None
    """Other processes' share of the CPUs during the rounds."""
    batches: tuple[tuple[str, ...], ...]
    """File names of the images of every batch."""
    skipped: tuple[str, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """File names of the images that were left out, because they cannot be read or are not as they were annotated; None
    if there are none."""
    rounds: tuple[RoundReport, ...]
    engines: tuple[EngineReport, ...]
    """Engines as they were named; all ratios are to the first."""
    others: tuple[OtherReport, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Detectors that were not run, whose results were given; None if there are none."""
    requirements: tuple[Outcome, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """What came of each requirement for each engine; None if there was none."""

    @property
    def images(self) -> int:
        """Number of different images that the rounds reached."""
        return sum(len(self.batches[batch]) for batch in {each.batch for each in self.rounds})


def build_report(
    measurement: Measurement,
    accuracy: Sequence[Accuracy] | None = None,
    details: Sequence[AccuracyDetail] | None = None,
) -> ComparisonReport:
    """Turn what was measured into figures.

    Args:
        measurement: engines side by side.
        accuracy: figures of each engine, in order; None if only speed was measured.
        details: what stands behind the figures of each engine; None if only speed was measured.
    """
    baseline, batch = measurement.runs[0], measurement.settings.batch
    unknown = [None] * len(measurement.runs)
    return ComparisonReport(
        provenance=provenance(run.spec.path for run in measurement.runs),
        settings=measurement.settings,
        foreign_load=measurement.foreign_load,
        batches=tuple(tuple(path.name for path in paths) for paths in measurement.batches),
        skipped=tuple(path.name for path in measurement.skipped) or None,
        rounds=tuple(
            RoundReport(each.batch, tuple(each.order), each.foreign_load, each.state) for each in measurement.rounds
        ),
        engines=tuple(
            replace(_engine(run, baseline, batch), accuracy=figures, detail=detail)
            for run, figures, detail in zip(measurement.runs, accuracy or unknown, details or unknown, strict=True)
        ),
    )


def with_accuracy(report: ComparisonReport, judged: ComparisonReport) -> ComparisonReport:
    """A report of speed with the accuracy, and the images left out, of another report of the same engines."""
    engines = (
        replace(a, accuracy=b.accuracy, detail=b.detail) for a, b in zip(report.engines, judged.engines, strict=True)
    )
    return replace(report, engines=tuple(engines), skipped=judged.skipped)


def _engine(run: EngineRun, baseline: EngineRun, batch: int) -> EngineReport:
    samples = {phase: [1000 * sample.seconds[phase] for sample in run.samples] for phase in PHASES}
    samples["total"] = [sum(values) for values in zip(*samples.values(), strict=True)]
    latency = {phase: percentiles(values) for phase, values in samples.items()}
    counts = [count for sample in run.samples for count in sample.detections]
    return EngineReport(
        engine=str(run.spec),
        name=run.name,
        precision=run.precision,
        fps=1000 * batch / latency["engine"].p50,
        fps_end_to_end=1000 * batch / latency["total"].p50,
        speedup=paired_ratio(_network_seconds(baseline), _network_seconds(run)),
        speedup_end_to_end=paired_ratio(_total_seconds(baseline), _total_seconds(run)),
        detections_per_image=DetectionCounts(sum(counts) / len(counts), min(counts), max(counts)),
        padded_sizes=dict(Counter("{}x{}".format(*sample.padded) for sample in run.samples)),
        peak_memory_mib=run.peak_memory_bytes and run.peak_memory_bytes / 2**20,
        device_memory_mib=run.device_memory_bytes and run.device_memory_bytes / 2**20,
        joules=run.joules,
        joules_per_image=run.joules and run.joules / (batch * len(run.samples)),
        latency_ms=latency,
        samples_ms={phase: tuple(round(value, 4) for value in values) for phase, values in samples.items()},
    )


def _network_seconds(run: EngineRun) -> list[float]:
    return [sample.seconds["engine"] for sample in run.samples]


def _total_seconds(run: EngineRun) -> list[float]:
    return [sum(sample.seconds.values()) for sample in run.samples]
