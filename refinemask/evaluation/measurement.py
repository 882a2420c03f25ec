"""A detector run over a data set and measured, by all processes together."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refinemask.config import Window
from refinemask.data.coco import CocoDataset
from refinemask.differences.figures import annotation_differences
from refinemask.distributed import gather, is_main
from refinemask.evaluation.bootstrap import interval, resample, resampled_ap
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.matches import Matches
from refinemask.evaluation.metrics import Figures, Metric
from refinemask.evaluation.prediction_file import scratch_predictions
from refinemask.evaluation.predictions import export_results
from refinemask.evaluation.sharding import predict_shares
from refinemask.files import UserError
from refinemask.page.viewer import Views
from refinemask.prediction import Predictor
from refinemask.streaming.plan import StreamOptions
from refinemask.structures import Result


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How accurate a detector is on a data set."""

    figures: Figures
    """Average precisions and recalls in 0..1 by kind of overlap (bbox, segm, boundary), then by name; -1 without an
    object."""
    images: int
    """Number of images that were measured."""
    skipped: tuple[str, ...]
    """Reason for each image that was left out, because its file cannot be read or is not the annotated picture."""
    max_detections: int
    """Largest number of detections that counted per image, and class for COCO."""
    matches: Mapping[IoUType, Matches] = field(default_factory=dict, repr=False, compare=False)
    """The matches that the figures are of, by kind of overlap; in the first process only."""
    pictures: tuple[Views, ...] | None = field(default=None, repr=False, compare=False)
    """Images in which masks and annotations differ most; None if no pictures were asked for, or the metric has none."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Ends of the 95 % confidence interval of AP over images, by kind of overlap; none without resamples or objects."""


def measure(
    predictor: Predictor,
    metric: Metric[Any],
    dataset: CocoDataset,
    image_dir: str | os.PathLike[str],
    *,
    iou_types: Sequence[IoUType] | None = None,
    max_detections: int | None = None,
    options: StreamOptions | None = None,
    predictions: Path | None = None,
    source: Mapping[str, str] | None = None,
    results: Path | None = None,
    pictures: int = 0,
    resamples: int = 0,
) -> Measurement:
    """Predict every image once, each process its share, and score the whole; every process gets the figures.

    Args:
        predictor: the detector.
        metric: the way to measure; ``dataset`` is of its kind.
        dataset: the annotated images.
        image_dir: folder of the images' files.
        iou_types: kinds of overlap; None is all that the metric has.
        max_detections: detections that count per image and class; None is the metric's own number.
        options: batch size, threads and tiles.
        predictions: file that keeps the predictions, from which an interrupted run goes on.
        source: what the predictions depend on, such as hashes of files; kept predictions of another source are refused.
        results: COCO results file of all detections to write.
        pictures: largest number of images to draw, for COCO.
        resamples: number of bootstrap resamples of the images for the intervals of AP; 0 leaves them out.

    Raises:
        UserError: no image could be used, or a file cannot be written or is of another source.
    """
    with ExitStack() as stack:
        path = predictions or stack.enter_context(scratch_predictions())
        predicted, skipped = stack.enter_context(
            predict_shares(predictor, dataset.images, image_dir, path, source or {}, options)
        )
        if len(skipped) == len(dataset.images):
            first = f"; the first: {skipped[0]}" if skipped else ""
            raise UserError(f"{image_dir}: none of the {len(dataset.images)} images could be used{first}")
        if results is not None and is_main():
            export_results(predicted, results)
        limit = metric.max_detections(dataset, max_detections)
        # One process scores for all: a whole data set takes time and memory.
        matches = metric.match(dataset, predicted, iou_types or metric.iou_types, limit) if is_main() else {}
        return Measurement(
            figures=gather({kind: metric.figures(dataset, each) for kind, each in matches.items()})[0],
            images=len(dataset.images) - len(skipped),
            skipped=tuple(skipped),
            max_detections=limit,
            matches=matches,
            pictures=(
                draw(metric, dataset, image_dir, predictor.config.preprocessing.window, predicted, pictures)
                if is_main()
                else None
            ),
            intervals=gather(ap_intervals(matches, resamples))[0],
        )


def ap_intervals(matches: Mapping[IoUType, Matches], resamples: int) -> dict[str, tuple[float, float]]:
    """Ends of the 95 % confidence interval of AP by kind of overlap; kinds without objects are left out."""
    draws = {kind: resample(len(each.image_ids), resamples) for kind, each in matches.items()}
    ends = {kind: interval(resampled_ap(each, draws[kind])) for kind, each in matches.items()}
    return {kind: between for kind, between in ends.items() if between is not None}


def draw(
    metric: Metric[Any],
    dataset: CocoDataset,
    image_dir: str | os.PathLike[str],
    window: Window | None,
    predicted: Mapping[int, Sequence[Result]],
    pictures: int,
) -> tuple[Views, ...] | None:
    """Pictures of the images in which results and annotations differ most; None if none are wanted, or for LVIS."""
    # LVIS annotates some of an image's classes alone, so what is found beside the annotations may be right.
    if not pictures or metric.name != "coco":
        return None
    return tuple(annotation_differences(dataset, image_dir, window, predicted, pictures))
