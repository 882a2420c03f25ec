"""Speed and accuracy of several engines, both measured on the same files in the same run."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.harness.accuracy_detail import accuracy_details
from benchmarks.harness.measure import measure
from benchmarks.harness.others import iou_types_of, open_results, with_others
from benchmarks.harness.report import Accuracy, AccuracyDetail, ComparisonReport, build_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import TORCHVISION, ResultsSpec, run_engines
from benchmarks.harness.worker import Worker
from refinemask.config import ModelConfig, Window
from refinemask.data.annotated import locate, read_annotated
from refinemask.data.categories import COCO
from refinemask.data.coco import CocoDataset, CocoImage
from refinemask.data.lvis import LvisDataset
from refinemask.evaluation.coco import coco_figures, match_coco
from refinemask.evaluation.lvis import evaluate_lvis
from refinemask.evaluation.metrics import METRICS, classes, listed
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.structures import Result

Look = Callable[[ComparisonReport, Sequence[PredictionFile], Window | None], None]
"""Function of a report, what each engine found in every image, and how the engines see images of more than 8 bits."""


def compare(
    engines: Sequence[str],
    dataset: CocoDataset,
    directory: Path,
    settings: Settings,
    limit: int | None = None,
    ap_star: LvisDataset | None = None,
    resamples: int = 0,
    look: Look | None = None,
) -> ComparisonReport:
    """Measure speed and accuracy.

    Accuracy is that of the images which the rounds reach; they are the same for every engine. What
    ``refinemask.evaluate`` refuses or skips is refused or skipped here.

    Args:
        engines: as :func:`benchmarks.harness.spec.parse_spec` reads them; the first, which is no results file, is the
            baseline of the others.
        dataset: the annotated images.
        directory: folder of the images' files.
        settings: how to measure.
        limit: use only the first so many images.
        ap_star: annotations of AP* for the same images; they add an entry ``ap_star`` to the accuracy.
        resamples: number of bootstrap resamples of the images that the intervals of AP come from; 0 gives none.
        look: is called in the end, while the predictions are still there.

    Raises:
        UserError: an engine, the annotations or the limit are wrong, no image can be used, or an engine finds other
            classes than those of the annotations or of another engine.
    """
    require_at_least(1, limit=limit)
    require_at_least(0, resamples=resamples)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; --images expects the directory of the annotated images")
    images = dataset.images[:limit]
    others, engines = _apart(engines)
    theirs = [open_results(spec, dataset, images) for spec in others]
    with ExitStack() as stack:
        # On disk: thousands of images with hundreds of masks each would fill the memory.
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        predictions = [
            stack.enter_context(PredictionFile(scratch / f"{number}.jsonl", {})) for number in range(len(engines))
        ]

        def collect(engine: int, image: int, results: list[Result]) -> None:
            predictions[engine].append(images[image].id, results)

        measurement = measure(
            engines,
            [_place(directory, image) for image in images],
            settings,
            collect,
            check=partial(_require_classes, dataset, ap_star),
            read=lambda number, window: read_annotated(directory, images[number], window),
        )
        for file in theirs:
            file.restrict(predictions[0])
        accuracy, details = _judged(dataset, ap_star, [*predictions, *theirs], resamples)
        ran = len(engines)
        report = build_report(measurement, accuracy[:ran], details[:ran])
        report = with_others(report, others, theirs, accuracy[ran:], details[ran:])
        if look is not None:
            look(report, predictions, measurement.window)
        return report


def _apart(engines: Sequence[str]) -> tuple[list[ResultsSpec], list[str]]:
    """The results files and the engines.

    Raises:
        UserError: the first is a results file.
    """
    specs = [ResultsSpec.parse(text) for text in engines]
    if engines and specs[0] is not None:
        raise UserError(
            f"{engines[0]}: the first is the baseline, which is run; name an engine before the results file, or "
            "measure the file alone with refinemask.evaluate --results"
        )
    return [spec for spec in specs if spec is not None], run_engines(engines)


def _judged(
    dataset: CocoDataset, ap_star: LvisDataset | None, found: Sequence[Mapping[int, list[Result]]], resamples: int
) -> tuple[list[Accuracy], list[AccuracyDetail]]:
    """Figures of the results of each detector, and what stands behind them; the first is the baseline of the others."""
    matched = [match_coco(dataset, results, iou_types_of(results)) for results in found]
    accuracy: list[Accuracy] = [{kind: coco_figures(each) for kind, each in kinds.items()} for kinds in matched]
    if ap_star is not None:
        for figures, results in zip(accuracy, found, strict=True):
            figures["ap_star"] = evaluate_lvis(ap_star, results)
    return accuracy, accuracy_details(matched, dataset.categories, resamples)


def _place(directory: Path, image: CocoImage) -> Path:
    try:
        return locate(directory, image.file_name)
    except UserError:
        # Reading it says why it is left out.
        return directory / image.file_name


def _require_classes(dataset: CocoDataset, ap_star: LvisDataset | None, workers: Sequence[Worker]) -> None:
    """Raise a UserError unless all engines find the same classes, and those of the annotations."""
    configs = [_with_names(worker, dataset) for worker in workers]
    for worker, config in zip(workers, configs, strict=True):
        METRICS["coco"].require_classes(dataset, config, str(worker.spec))
        if ap_star is not None:
            METRICS["ap-star"].require_classes(ap_star, config, str(worker.spec))
    for other, config in zip(workers[1:], configs[1:], strict=True):
        if classes(config) != classes(configs[0]):
            raise UserError(
                f"{other.spec}: finds {listed(classes(config))}, but {workers[0].spec} finds "
                f"{listed(classes(configs[0]))}; compare engines of the same classes"
            )


def _with_names(worker: Worker, dataset: CocoDataset) -> ModelConfig:
    """The configuration of a worker's model; classes of torchvision's weights, which have no names, are called as the
    annotations call them."""
    if worker.spec.backend != TORCHVISION or worker.config.category_ids == COCO.category_ids:
        return worker.config
    names = (dataset.categories.get(number, name) for number, name in classes(worker.config).items())
    return replace(worker.config, class_names=tuple(names))
