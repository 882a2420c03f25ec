"""Average precision of a whole validation set: our evaluator beside others, from the same two JSON files on disk.

python -m benchmarks.evaluation
"""

import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.evaluators.contender import CONTENDERS, Figures, Name, Run, run
from benchmarks.evaluators.synthetic import Amount, synthetic
from benchmarks.harness.child import call_in_child
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import print_json
from refinemask.command import execute
from refinemask.evaluation.coco import IOU_TYPES, IoUType
from refinemask.files import FailedCheckError, UserError
from refinemask.options import require_at_least
from refinemask.spelling import Size

LARGEST_DIFFERENCE = 1e-6
"""Largest difference of a figure that the order of sums explains."""


@dataclass(frozen=True)
class Args:
    """Time the evaluation of synthetic results of the size of COCO val2017."""

    images: int = 5000
    """Number of images."""
    objects: int = 7
    """Objects per image."""
    detections: int = 100
    """Detections per image: a third overlap an object of their category, a third only have a category of the image."""
    size: Size = (480, 640)
    """Height and width of the images in pixels; the objects grow with the height."""
    iou_types: tuple[IoUType, ...] = IOU_TYPES
    """Kinds of overlap; an evaluator that lacks one of them does not run."""
    evaluators: tuple[Name, ...] = tuple(CONTENDERS)
    """Evaluators to compare; one that is not installed is named as not run."""
    rounds: int = 3
    """Rounds in which every evaluator has its turn, each time in a process of its own."""
    seed: int = 0
    """Seed of the results and of the order in each round."""


@dataclass(frozen=True, kw_only=True)
class EvaluatorReport:
    """What one evaluator took: the reading of both files is included, its import is not."""

    version: str
    seconds: float
    """Median of the rounds' wall-clock times."""
    processor_seconds: float
    """Median of the rounds' processor times, of all threads."""
    peak_mib: int | None
    """Most memory that a process held, in MiB, its libraries included; None where the system does not tell."""
    all_seconds: list[float]
    """Wall-clock times of the rounds."""
    all_processor_seconds: list[float]
    """Processor times of the rounds."""


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """The evaluations of the same results."""

    provenance: Provenance
    images: int
    objects: int
    detections: int
    height: int
    width: int
    iou_types: list[str]
    rounds: int
    seed: int
    files_mib: int
    """Size of annotations and results together."""
    evaluators: dict[str, EvaluatorReport]
    """By name, those that ran."""
    not_run: dict[str, str]
    """Reasons, by name, of those that did not."""
    figures: Figures
    """Figures of the first evaluator, by kind of overlap and name."""
    largest_difference: float
    """Largest difference between two evaluators' figures of the same name."""


def main(args: Args | None = None) -> int:
    """Print times, memory and figures as JSON; exit code 1 if a figure differs by more than 1e-6."""
    return execute(Args, _compare, args, description=__doc__)


def _compare(args: Args) -> None:
    require_at_least(1, images=args.images, objects=args.objects, detections=args.detections, rounds=args.rounds)
    height, width = args.size
    require_at_least(1, height=height, width=width)
    reasons = {name: CONTENDERS[name].why_not(args.iou_types) for name in args.evaluators}
    names = [name for name, reason in reasons.items() if reason is None]
    if not names:
        raise UserError(f"no evaluator can run: {'; '.join(f'{name} {reason}' for name, reason in reasons.items())}")
    with tempfile.TemporaryDirectory() as folder:
        files = _write(args, Path(folder))
        size = sum(file.stat().st_size for file in files)
        runs = _take_turns(names, files, args)
    first = [of_one[0].figures for of_one in runs.values()]
    report = EvaluationReport(
        provenance=provenance(),
        images=args.images,
        objects=args.objects,
        detections=args.detections,
        height=height,
        width=width,
        iou_types=list(args.iou_types),
        rounds=args.rounds,
        seed=args.seed,
        files_mib=size >> 20,
        evaluators={name: _report(name, runs[name]) for name in names},
        not_run={name: reason for name, reason in reasons.items() if reason is not None},
        figures=first[0],
        largest_difference=_largest_difference(first),
    )
    print_json(report)
    if report.largest_difference > LARGEST_DIFFERENCE:
        raise FailedCheckError(
            f"the figures differ by {report.largest_difference}: {dict(zip(names, first, strict=True))}"
        )


def _write(args: Args, folder: Path) -> tuple[Path, Path]:
    amount = Amount(args.images, args.objects, args.detections, *args.size)
    files = folder / "annotations.json", folder / "results.json"
    for file, content in zip(files, synthetic(amount, args.seed), strict=True):
        file.write_text(json.dumps(content))
    return files


def _take_turns(names: Sequence[Name], files: tuple[Path, Path], args: Args) -> dict[Name, list[Run]]:
    """The runs of each evaluator; every round has another order."""
    shuffle = random.Random(args.seed)
    runs: dict[Name, list[Run]] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in shuffle.sample(names, len(names)):
            runs[name].append(call_in_child(None, run, name, *files, args.iou_types, args.detections))
    return runs


def _report(name: Name, runs: Sequence[Run]) -> EvaluatorReport:
    peaks = [each.peak_mib for each in runs if each.peak_mib is not None]
    return EvaluatorReport(
        version=CONTENDERS[name].version,
        seconds=median(each.seconds for each in runs),
        processor_seconds=median(each.processor_seconds for each in runs),
        peak_mib=max(peaks, default=None),
        all_seconds=[each.seconds for each in runs],
        all_processor_seconds=[each.processor_seconds for each in runs],
    )


def _largest_difference(figures: Sequence[Mapping[str, Mapping[str, float]]]) -> float:
    """Over all pairs of evaluators, and the figures that both have."""
    values: dict[tuple[str, str], list[float]] = {}
    for of_one in figures:
        for iou_type, named in of_one.items():
            for name, value in named.items():
                values.setdefault((iou_type, name), []).append(value)
    return max((max(each) - min(each) for each in values.values()), default=0.0)


if __name__ == "__main__":
    raise SystemExit(main())
