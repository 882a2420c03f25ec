"""What a calibration costs in AP: the methods on the same images, and the spread over other images and numbers of them.

python -m benchmarks.calibration nuclei.onnx -o calibration.json
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from rich.table import Table

import engines
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report import Accuracy
from benchmarks.harness.report_file import read_report, write_report
from benchmarks.harness.tables import points
from benchmarks.harness.terminal import terminal
from export.calibration.images import Choice, spread
from export.calibration.methods import Method
from export.calibration.ranges import METHOD, Calibration, choose_ranges
from export.calibration.run import measure_histograms
from export.qdq import QuantizedType
from export.quantization import write_quantized
from refinemask.bundled import NUCLEI
from refinemask.command import execute
from refinemask.contract import Metadata
from refinemask.data.annotated import locate
from refinemask.data.coco import read_coco
from refinemask.evaluation.run import evaluate
from refinemask.files import UserError, sha256
from refinemask.options import require_at_least, require_own_files
from refinemask.spelling import Model, OptionalNumber, Output

KINDS = {"bbox": "box", "segm": "mask", "boundary": "boundary"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Calibrate on bundled training images, quantise, and evaluate on the held-out ones; what was measured is kept.

    An interrupted run goes on when the same command is given again.
    """

    model: Model
    """A file of the bundled nuclei model, as export.to_onnx writes it."""
    output: Output
    """JSON file for the report. It is written after each evaluation."""
    precision: QuantizedType = "int8"
    """int8 or fp8."""
    count: int = 16
    """Images on which the methods are compared, spread evenly over the training images."""
    counts: tuple[int, ...] = (8, 16, 64)
    """Numbers of images for the spread, by the method that is the default."""
    seeds: int = 3
    """Random choices of images for each of these numbers."""
    limit: OptionalNumber = None
    """Number of the first held-out images; all if not given."""
    threads: int = 2
    """CPU threads of the evaluation."""


@dataclass(frozen=True)
class Trial:
    """A calibration to be judged."""

    method: Method
    images: int
    """Number of images to calibrate on."""
    seed: int | None
    """Seed of a random choice of the images; None for images that are spread evenly."""


@dataclass(frozen=True)
class TrialReport:
    """A trial and what it came to."""

    trial: Trial
    accuracy: Accuracy


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """Calibrations of one model."""

    provenance: Provenance
    precision: str
    images: int
    """Number of held-out images."""
    engine: str
    """Runtime that computed all, such as ``ONNX Runtime CPU``."""
    baseline: Accuracy
    """Accuracy of the file as it was exported."""
    trials: tuple[TrialReport, ...]
    """In the order of :func:`trials`, as far as the measurement has come."""


def trials(args: Args) -> list[Trial]:
    """Every method on the same images, then the default one on other images."""
    methods = [Trial(method, args.count, None) for method in get_args(Method)]
    return methods + [Trial(METHOD, count, seed) for count in args.counts for seed in range(args.seeds)]


def training_images(trial: Trial) -> Choice:
    """The bundled training images of a trial."""
    entries = read_coco(NUCLEI / "annotations" / "instances_train.json").images
    if trial.seed is None:
        chosen = spread(len(entries), trial.images)
    else:
        chosen = np.random.default_rng(trial.seed).permutation(len(entries))[: trial.images].tolist()
    paths = (locate(NUCLEI / "images", entries[index].file_name) for index in chosen)
    return Choice(calibration=tuple(paths), held_out=(), sha256=str(trial.seed), window=None)


def measure(args: Args) -> Iterator[CalibrationReport]:
    """The report after each evaluation, from that of an interrupted run on.

    Raises:
        UserError: the output is of another command, or the model cannot be used.
    """
    report = read_earlier(args) or _baseline(args)
    yield report
    with tempfile.TemporaryDirectory(prefix="refinemask-") as name:
        folder = Path(name)
        for trial in trials(args)[len(report.trials) :]:
            calibration = _calibrate(args.model, trial, folder)
            file = folder / "quantised.onnx"
            write_quantized(args.model, file, calibration, args.precision)
            accuracy, _ = _accuracy(file, args)
            report = replace(report, trials=(*report.trials, TrialReport(trial, accuracy)))
            yield report


def _baseline(args: Args) -> CalibrationReport:
    accuracy, engine = _accuracy(args.model, args)
    entries = read_coco(NUCLEI / "annotations" / "instances_val.json").images[: args.limit]
    return CalibrationReport(
        provenance=provenance([args.model]),
        precision=args.precision,
        images=len(entries),
        engine=engine,
        baseline=accuracy,
        trials=(),
    )


def _calibrate(model: Path, trial: Trial, folder: Path) -> Calibration:
    # Methods on the same images share what was counted.
    progress = folder / f"{trial.images}-{trial.seed}.ranges.partial"
    histograms = measure_histograms(model, training_images(trial), progress, "the model")
    return Calibration(
        source_sha256=Metadata.of_file(model).source_sha256,
        tool=trial.method,
        images=trial.images,
        ranges=choose_ranges(histograms, trial.method),
    )


def _accuracy(file: Path, args: Args) -> tuple[Accuracy, str]:
    engine = engines.load(file, backend="onnxruntime", threads=args.threads)
    annotations = NUCLEI / "annotations" / "instances_val.json"
    found = evaluate(engine, annotations, NUCLEI / "images", limit=args.limit, resamples=0)
    return found.figures, found.engine


def read_earlier(args: Args) -> CalibrationReport | None:
    """The report of an interrupted run of the same command, if there is one.

    Raises:
        UserError: the output is something else, or the report of another command.
    """
    if not args.output.exists():
        return None
    report = read_report(CalibrationReport, args.output)
    known = {each.sha256 for each in report.provenance.files.values()}
    planned = trials(args)[: len(report.trials)]
    if known != {sha256(args.model)} or report.precision != args.precision or planned != _tried(report):
        raise UserError(f"{args.output}: is of another model or of other options; name another output, or delete it")
    return report


def _tried(report: CalibrationReport) -> list[Trial]:
    return [each.trial for each in report.trials]


def methods_table(report: CalibrationReport) -> Table:
    """One row for the file as exported and one for each trial."""
    result = Table(title=f"{report.precision}, {report.images} held-out images, {report.engine}", title_justify="left")
    for heading in ("method", "images", "chosen"):
        result.add_column(heading)
    for kind in KINDS.values():
        result.add_column(f"{kind} AP", justify="right")
        result.add_column("Δ", justify="right")
    result.add_row("as exported", "", "", *(cell for kind in KINDS for cell in (_ap(report.baseline, kind), "")))
    for each in report.trials:
        trial, chosen = each.trial, "evenly" if each.trial.seed is None else f"seed {each.trial.seed}"
        cells = ((_ap(each.accuracy, kind), f"{_change(report, each, kind):+.2f}") for kind in KINDS)
        result.add_row(trial.method, str(trial.images), chosen, *(cell for pair in cells for cell in pair))
    return result


def spread_table(report: CalibrationReport) -> Table:
    """The worst and the best change of AP for each number of images."""
    result = Table(title=f"{METHOD}: least and largest Δ over random choices of images", title_justify="left")
    for heading in ("images", "choices", *(f"{kind} AP" for kind in KINDS.values())):
        result.add_column(heading, justify="right")
    drawn = [each for each in report.trials if each.trial.seed is not None]
    for images in dict.fromkeys(each.trial.images for each in drawn):
        group = [each for each in drawn if each.trial.images == images]
        changes = [[_change(report, each, kind) for each in group] for kind in KINDS]
        result.add_row(str(images), str(len(group)), *(f"{min(each):+.2f} to {max(each):+.2f}" for each in changes))
    return result


def _ap(accuracy: Accuracy, kind: str) -> str:
    return points(accuracy[kind]["AP"])


def _change(report: CalibrationReport, each: TrialReport, kind: str) -> float:
    return 100 * (each.accuracy[kind]["AP"] - report.baseline[kind]["AP"])


def main(args: Args | None = None) -> int:
    """Write the report after each evaluation, and print its tables; returns the exit code."""
    return execute(Args, _calibration, args)


def _calibration(args: Args) -> None:
    require_at_least(1, count=args.count, seeds=args.seeds, limit=args.limit, threads=args.threads)
    require_at_least(1, counts=min(args.counts, default=1))
    require_own_files({"--output": args.output}, args.model)
    for report in measure(args):
        write_report(report, args.output)
        print(f"{len(report.trials)} of {len(trials(args))} calibrations evaluated", flush=True)
    terminal().print(methods_table(report))
    terminal().print(spread_table(report))


if __name__ == "__main__":
    raise SystemExit(main())
