"""What training runs came to: accuracy on their own and on unseen images, and the course of their losses.

python -m benchmarks.training runs/coco-mini-mask-rcnn runs/coco-mini --data-root data/coco_mini --output coco-mini.json
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

import engines
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report import Accuracy
from benchmarks.harness.report_file import write_report
from benchmarks.harness.tables import points
from benchmarks.harness.terminal import terminal
from refinemask.command import execute
from refinemask.evaluation.run import evaluate
from refinemask.files import UserError, atomic_write, require_not_input
from refinemask.json_files import Positive, checked, parse_json
from refinemask.spelling import OptionalNumber, Output

SETS = {"training images": "data", "held-out images": "validation"}
"""Part of the recipe that has the annotations and the folder, by set of images."""
COLUMNS = {"box AP": "bbox", "mask AP": "segm", "boundary AP": "boundary"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Evaluate the last weights of finished runs of refinemask.train and put them side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN…")]
    """Directories of runs, all on the same data."""
    data_root: Path
    """Directory under which the recipes' annotation files and image folders lie."""
    output: Output
    """JSON file for the table and the curves; a figure of the curves is drawn beside it (.svg)."""
    limit: OptionalNumber = None
    """Number of the first images of each set to evaluate on; all if not given."""
    threads: int = 2
    """CPU threads."""


@dataclass(frozen=True)
class CurvePoint:
    """The losses of one logged iteration."""

    epoch: float
    loss: float
    """Sum of the weighted terms."""
    losses: dict[str, float]
    """Weighted terms by name."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What one run came to."""

    recipe: str
    iterations: int
    epochs: float
    batch_size: int
    images_per_second: float
    """Images per second, median over the logged iterations."""
    peak_memory_mib: float
    provenance: Provenance
    accuracy: dict[str, Accuracy]
    """Figures by set of images; see :data:`SETS`. A run without held-out images has none of them."""
    evaluated_images: int | str
    """Limit of the images of each set, or ``all``."""
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class TrainingReport:
    """Runs on the same data, side by side."""

    runs: tuple[RunReport, ...]


def assess(run: Path, args: Args) -> RunReport:
    """Evaluate the last weights of one run on both sets.

    Raises:
        UserError: the directory holds no finished run, or its data are not there.
    """
    recipe, records = read_run(run)
    checkpoint = run / "last.safetensors"
    rates = sorted(record.images_per_second for record in records)
    return RunReport(
        recipe=recipe.name,
        iterations=records[-1].iteration,
        epochs=records[-1].epoch,
        batch_size=recipe.train.batch_size,
        images_per_second=rates[len(rates) // 2],
        peak_memory_mib=max(record.memory_mb for record in records),
        provenance=provenance([checkpoint]),
        accuracy={
            name: _evaluate(checkpoint, data, args, recipe.data.crowd_as_object)
            for name, part in SETS.items()
            if (data := getattr(recipe, part)) is not None
        },
        evaluated_images=args.limit or "all",
        curve=tuple(CurvePoint(record.epoch, record.loss, record.losses) for record in records),
    )


@dataclass(frozen=True)
class _Train:
    epochs: int
    batch_size: Positive


@dataclass(frozen=True)
class _Data:
    annotations: str
    images: str
    crowd_as_object: bool = False


@dataclass(frozen=True)
class _Recipe:
    """What is needed here of a run's ``recipe.json``."""

    name: str
    train: _Train
    data: _Data
    validation: _Data | None


@dataclass(frozen=True)
class _Record:
    """What is needed here of a line of ``metrics.jsonl`` that has a loss."""

    iteration: int
    epoch: float
    loss: float
    losses: dict[str, float]
    images_per_second: float
    memory_mb: float


def read_run(run: Path) -> tuple[_Recipe, list[_Record]]:
    """The parts of the recipe that are needed here, and the records of the losses."""
    try:
        recipe = checked(parse_json((run / "recipe.json").read_bytes()), _Recipe)
        metrics = [parse_json(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        records = checked([each for each in metrics if "loss" in checked(each, dict[str, Any])], list[_Record])
        if not records:
            raise ValueError("metrics.jsonl has no loss")
    except (OSError, ValueError) as error:
        raise UserError(f"{run}: expected the directory of a run of python -m refinemask.train: {error}") from error
    last, epochs = records[-1].epoch, recipe.train.epochs
    if last != epochs and not any("stopped_early" in each for each in metrics):
        raise UserError(f"{run}: stopped in epoch {last} of {epochs}; go on with its command and --resume auto")
    return recipe, records


def _evaluate(checkpoint: Path, data: _Data, args: Args, crowd_as_object: bool) -> Accuracy:
    found = evaluate(
        engines.load(checkpoint, threads=args.threads),
        args.data_root / data.annotations,
        args.data_root / data.images,
        limit=args.limit,
        crowd_as_object=crowd_as_object,
        model=checkpoint,
    )
    for reason in found.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    return found.figures


def table(report: TrainingReport) -> Table:
    """One row per run."""
    result = Table(title="Trained models", title_justify="left")
    result.add_column("recipe")
    for heading in ("iterations", "images/s", *(f"{column}, {name}" for name in SETS for column in COLUMNS)):
        result.add_column(heading, justify="right")
    for run in report.runs:
        figures = (
            points(run.accuracy[name][kind]["AP"], 1) if name in run.accuracy else "–"
            for name in SETS
            for kind in COLUMNS.values()
        )
        result.add_row(run.recipe, str(run.iterations), f"{run.images_per_second:.2f}", *figures)
    return result


def draw_curves(report: TrainingReport, path: Path) -> None:
    """Draw every loss term over the epochs, one panel per run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(report.runs), 3.8), layout="constrained")
    panels = figure.subplots(1, len(report.runs), sharey=True, squeeze=False)[0]
    for panel, run in zip(panels, report.runs, strict=True):
        epochs = [point.epoch for point in run.curve]
        for term in run.curve[0].losses:
            panel.plot(epochs, [point.losses[term] for point in run.curve], label=term, linewidth=1.2)
        panel.set(title=run.recipe, xlabel="epoch", yscale="log")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="x-small", ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    panels[0].set_ylabel("loss, weighted")
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def main(args: Args | None = None) -> int:
    """Write JSON and figure, print the table; returns the exit code."""
    return execute(Args, _training, args)


def _training(args: Args) -> None:
    figure = args.output.with_suffix(".svg")
    if figure == args.output:
        raise UserError(f"{figure}: the figure takes this name; name the report with another suffix, such as .json")
    for output in (args.output, figure):
        require_not_input(output, *(file for run in args.runs for file in run.glob("*")))
    report = TrainingReport(tuple(assess(run, args) for run in args.runs))
    write_report(report, args.output)
    draw_curves(report, figure)
    terminal().print(table(report))


if __name__ == "__main__":
    raise SystemExit(main())
