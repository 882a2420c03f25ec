"""The accuracy of what another tool found: a COCO results file on annotations, without a model and without images."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from refinemask.distributed import say
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.measurement import ap_intervals, draw
from refinemask.evaluation.metrics import MetricName
from refinemask.evaluation.results_file import ResultsFile
from refinemask.evaluation.run import Evaluation, find_metric, read_dataset, require_images
from refinemask.files import UserError, sha256
from refinemask.options import require_at_least

ENGINE = "results of another tool"


def evaluate_results(
    results: str | os.PathLike[str],
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    metric: MetricName = "coco",
    iou_types: Sequence[IoUType] | None = None,
    max_detections: int | None = None,
    crowd_as_object: bool = False,
    limit: int | None = None,
    pictures: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """Measure the average precision of a COCO results file, whatever tool made it.

    All images of the annotations count, as with pycocotools: one without a result is one in which nothing was found.
    How many there are, and what of the file cannot be used, is printed to standard error.

    Args:
        results: the file: a list of entries with ``image_id``, ``category_id``, ``score``, and ``bbox`` (x, y, width,
            height) or ``segmentation`` (run lengths or polygons), in pixels of the original image.
        annotations: annotation file of the metric's kind, as :func:`refinemask.evaluate` takes it.
        images: folder of the images, for annotations that lack sizes, and for pictures.
        metric: ``coco``; ``lvis``; or ``ap-star``, LVIS's figures of a COCO detector on COCO's categories of LVIS.
        iou_types: ``bbox``, ``segm`` and, for coco alone, ``boundary``; None is all of the metric, or boxes alone if no
            result has a mask.
        max_detections: detections that count per image and class, for coco; None is 100, or more where an image has
            more objects.
        crowd_as_object: whether objects that are marked as crowds are looked for, too; for coco.
        limit: use only the first so many images.
        pictures: largest number of images, for coco, of which the evaluation gets pictures: those in which masks and
            annotations differ most. Without ``images`` there are none.
        resamples: number of bootstrap resamples of the images for the intervals of AP; 0 leaves them out.

    Raises:
        UserError: an argument makes no sense, a file cannot be read, results have no masks or are of other images,
            categories or sizes than the annotations.
    """
    require_at_least(1, limit=limit, max_detections=max_detections)
    require_at_least(0, resamples=resamples)
    chosen = find_metric(metric)
    chosen.require_options(iou_types, max_detections)
    dataset, digest = read_dataset(chosen, annotations, images, crowd_as_object)
    require_images(dataset, images)
    found = ResultsFile(results, dataset)
    dataset = replace(dataset, images=dataset.images[:limit])
    found.restrict(image.id for image in dataset.images)
    found.say_if_incomplete()
    counted = chosen.max_detections(dataset, max_detections)
    kinds = measurable(found, iou_types or chosen.iou_types, asked=iou_types is not None)
    with found.errors_named():
        matches = chosen.match(dataset, found, kinds, counted)
    return Evaluation(
        figures={kind: chosen.figures(dataset, each) for kind, each in matches.items()},
        images=len(dataset.images),
        skipped=(),
        max_detections=counted,
        matches=matches,
        intervals=ap_intervals(matches, resamples),
        pictures=None if images is None or kinds == ("bbox",) else draw(chosen, dataset, images, None, found, pictures),
        class_names=dict(dataset.categories),
        model=Path(results).name,
        metric=metric,
        engine=ENGINE,
        precision="",
        sha256={"results": sha256(results), "annotations": digest},
    )


def measurable(found: ResultsFile, iou_types: Sequence[IoUType], *, asked: bool) -> tuple[IoUType, ...]:
    """The kinds of overlap that a file's results have; that others are left out is printed to standard error.

    Args:
        found: the results.
        iou_types: the kinds of overlap that are wanted.
        asked: whether leaving some out is an error.

    Raises:
        UserError: masks are wanted, and some results have none.
    """
    if found.without_mask is None or set(iou_types) <= {"bbox"}:
        return tuple(iou_types)
    if asked or found.some_masks:
        raise UserError(
            f"{found.path}: result {found.without_mask} has no segmentation; measure the boxes alone: --iou-types bbox"
        )
    say(f"{found.path}: has boxes and no masks: only the figures of boxes are measured")
    return ("bbox",)
