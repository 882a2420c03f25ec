"""Speed and accuracy of several engines, both measured on the same files in the same run."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.harness.accuracy_detail import accuracy_details
from benchmarks.harness.measure import measure
from benchmarks.harness.report import Accuracy, ComparisonReport, build_report
from benchmarks.harness.settings import Settings
from benchmarks.harness.worker import Worker
from refinemask.data.annotated import locate, read_annotated
from refinemask.data.coco import CocoDataset, CocoImage
from refinemask.data.lvis import LvisDataset
from refinemask.evaluation.coco import coco_figures, match_coco
from refinemask.evaluation.lvis import evaluate_lvis
from refinemask.evaluation.metrics import METRICS, classes, listed
from refinemask.evaluation.prediction_file import PredictionFile
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.structures import Result


def compare(
    engines: Sequence[str],
    dataset: CocoDataset,
    directory: Path,
    settings: Settings,
    limit: int | None = None,
    ap_star: LvisDataset | None = None,
    resamples: int = 0,
) -> ComparisonReport:
    """Measure speed and accuracy.

    Accuracy is that of the images which the rounds reach; they are the same for every engine. What
    ``refinemask.evaluate`` refuses or skips is refused or skipped here.

    Args:
        engines: as :class:`benchmarks.harness.spec.EngineSpec` reads them; the first is the baseline of the others.
        dataset: the annotated images.
        directory: folder of the images' files.
        settings: how to measure.
        limit: use only the first so many images.
        ap_star: annotations of AP* for the same images; they add an entry ``ap_star`` to the accuracy.
        resamples: number of bootstrap resamples of the images that the intervals of AP come from; 0 gives none.

    Raises:
        UserError: an engine, the annotations or the limit are wrong, no image can be used, or an engine finds other
            classes than those of the annotations or of another engine.
    """
    require_at_least(1, limit=limit)
    require_at_least(0, resamples=resamples)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; --images expects the directory of the annotated images")
    images = dataset.images[:limit]
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
        matched = [match_coco(dataset, results) for results in predictions]
        accuracy: list[Accuracy] = [{kind: coco_figures(each) for kind, each in kinds.items()} for kinds in matched]
        if ap_star is not None:
            for figures, results in zip(accuracy, predictions, strict=True):
                figures["ap_star"] = evaluate_lvis(ap_star, results)
        return build_report(measurement, accuracy, accuracy_details(matched, dataset.categories, resamples))


def _place(directory: Path, image: CocoImage) -> Path:
    try:
        return locate(directory, image.file_name)
    except UserError:
        # Reading it says why it is left out.
        return directory / image.file_name


def _require_classes(dataset: CocoDataset, ap_star: LvisDataset | None, workers: Sequence[Worker]) -> None:
    """Raise a UserError unless all engines find the same classes, and those of the annotations."""
    for worker in workers:
        METRICS["coco"].require_classes(dataset, worker.config, str(worker.spec))
        if ap_star is not None:
            METRICS["ap-star"].require_classes(ap_star, worker.config, str(worker.spec))
    first, *others = workers
    for other in others:
        if classes(other.config) != classes(first.config):
            raise UserError(
                f"{other.spec}: finds {listed(classes(other.config))}, but {first.spec} finds "
                f"{listed(classes(first.config))}; compare engines of the same classes"
            )
