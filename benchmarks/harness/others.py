"""Detectors that are not run: their results, from files of any tool, beside those of engines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.harness.provenance import MeasuredFile
from benchmarks.harness.report import Accuracy, AccuracyDetail, ComparisonReport, DetectionCounts, OtherReport
from benchmarks.harness.spec import ResultsSpec
from refinemask.data.coco import CocoDataset, CocoImage
from refinemask.evaluation.coco import IOU_TYPES, IoUType
from refinemask.evaluation.foreign_results import measurable
from refinemask.evaluation.results_file import ResultsFile
from refinemask.files import UserError, sha256
from refinemask.structures import Result

MOST_WITHOUT_RESULT = 0.5
"""Largest share of the images that a file may lack. A results file does not tell an image in which nothing was found
from one that was not looked at. A detector finds something in nearly every image with objects, so a file that lacks
more than half was made for other images."""


def open_results(spec: ResultsSpec, dataset: CocoDataset, images: Sequence[CocoImage]) -> ResultsFile:
    """Open a results file and read all of it once; how many images it does not name is printed to standard error.

    Raises:
        UserError: the file cannot be read, a result is malformed, or most images have none.
    """
    found = ResultsFile(spec.path, dataset)
    found.restrict(image.id for image in images)
    if found.empty > MOST_WITHOUT_RESULT * len(found):
        raise UserError(
            f"{spec.path}: {found.empty} of the {len(found)} images have no result; expected results of the images "
            "that are compared: run the other tool on all of them"
        )
    found.say_if_incomplete()
    measurable(found, IOU_TYPES, asked=False)
    found.check()
    return found


def iou_types_of(results: Mapping[int, Sequence[Result]]) -> Sequence[IoUType]:
    """The kinds of overlap to judge results by: boxes alone for a file that has no masks."""
    return ("bbox",) if isinstance(results, ResultsFile) and results.without_mask is not None else IOU_TYPES


def with_others(
    report: ComparisonReport,
    specs: Sequence[ResultsSpec],
    results: Sequence[ResultsFile],
    accuracy: Sequence[Accuracy],
    details: Sequence[AccuracyDetail],
) -> ComparisonReport:
    """A report of engines with detectors that were not run.

    Args:
        report: the engines that were.
        specs: the others.
        results: the results of each in the images of the report.
        accuracy: the figures of each.
        details: what stands behind them.
    """
    if not specs:
        return report
    files = {spec.path.name: MeasuredFile(sha256(spec.path), spec.path.stat().st_size) for spec in specs}
    baseline = report.engines[0].latency_ms["engine"].p50 / report.settings.batch
    others = (_other(*each, baseline_ms=baseline) for each in zip(specs, results, accuracy, details, strict=True))
    provenance = replace(report.provenance, files=report.provenance.files | files)
    return replace(report, provenance=provenance, others=tuple(others))


def _other(
    spec: ResultsSpec, results: ResultsFile, accuracy: Accuracy, detail: AccuracyDetail, *, baseline_ms: float
) -> OtherReport:
    counts, latency = results.counts, spec.latency_ms
    return OtherReport(
        engine=str(spec),
        name=spec.name,
        stated_latency_ms=latency,
        stated_fps=None if latency is None else 1000 / latency,
        stated_speedup=None if latency is None else baseline_ms / latency,
        detections_per_image=DetectionCounts(sum(counts) / len(counts), min(counts), max(counts)),
        images_without_results=results.empty,
        accuracy=accuracy,
        detail=detail,
    )
