"""The accuracy of an engine on an annotated data set."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.measurement import Measurement, measure
from refinemask.evaluation.metrics import METRICS, Metric, MetricName
from refinemask.files import UserError, require_file, sha256
from refinemask.prediction import Predictor


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measurement):
    """The accuracy that :func:`evaluate` measured, with the engine and the data it was measured on."""

    model: str | None
    """Name of the engine's file, if it was given."""
    metric: MetricName
    """Metric of the figures."""
    engine: str
    """Runtime, such as ``PyTorch``."""
    precision: str
    """Arithmetic of the convolutions."""
    sha256: dict[str, str]
    """SHA-256 of the annotations, and of the model if its file was given."""

    def to_json(self) -> str:
        """The report that ``python -m refinemask.evaluate --output`` writes."""
        names = "model", "metric", "engine", "precision", "sha256", "images", "skipped", "max_detections", "figures"
        values = asdict(self) | {"skipped": len(self.skipped)}
        return json.dumps({name: values[name] for name in names}, indent=2)


def evaluate(
    engine: Predictor,
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    metric: MetricName = "coco",
    iou_types: Sequence[IoUType] | None = None,
    max_detections: int | None = None,
    limit: int | None = None,
    batch_size: int = 1,
    model: str | os.PathLike[str] | None = None,
    predictions: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Measure the average precision of boxes, masks and mask boundaries.

    The processes that ``torchrun`` started divide the images and all get the same evaluation, inside
    ``refinemask.distributed.process_group``.

    Args:
        engine: what ``engines.load`` opens, or another predictor.
        annotations: annotation file of the metric's kind.
        images: folder of the images that the annotations name.
        metric: ``coco``; ``lvis``; or ``ap-star``, LVIS's figures of a COCO detector on COCO's categories of LVIS.
        iou_types: ``bbox``, ``segm`` and, for coco alone, ``boundary``; None is all of the metric.
        max_detections: detections that count per image and class, for coco; None is 100, or more where an image has
            more objects.
        limit: use only the first so many images.
        batch_size: images per batch.
        model: the engine's file, which kept predictions are bound to.
        predictions: file that keeps the predictions, one line per image; an interrupted run continues from it.
        results: COCO results file of all detections to write.

    Raises:
        UserError: an argument makes no sense, a file cannot be read or written, the engine does not find the classes
            of the annotations, or no image could be used.
    """
    chosen = _metric(engine, metric, {"limit": limit, "batch-size": batch_size, "max-detections": max_detections})
    if predictions is not None and model is None:
        raise UserError(f"{predictions}: kept predictions belong to a model's file; name it, too: model=…")
    chosen.require_options(iou_types, max_detections)
    if results is not None:
        require_file(Path(results))
    dataset = chosen.read(annotations)
    dataset = replace(dataset, images=dataset.images[:limit])
    chosen.require_classes(dataset, engine.config, str(model or engine.name))
    source = {} if model is None else {"model": sha256(model)}
    source["annotations"] = sha256(annotations)
    measured = measure(
        engine,
        chosen,
        dataset,
        images,
        iou_types=iou_types,
        max_detections=max_detections,
        batch_size=batch_size,
        predictions=None if predictions is None else Path(predictions),
        # A file of fp32 has always been without.
        source=source if engine.precision == "fp32" else {**source, "precision": engine.precision},
        results=None if results is None else Path(results),
    )
    return Evaluation(
        **vars(measured),
        model=None if model is None else Path(model).name,
        metric=metric,
        engine=engine.name,
        precision=engine.precision,
        sha256=source,
    )


def _metric(engine: Predictor, metric: MetricName, counts: Mapping[str, int | None]) -> Metric[Any]:
    """The metric of that name; raises a UserError unless engine, name and numbers make sense."""
    if not hasattr(engine, "detect"):
        raise UserError(f"{engine}: expected an engine; open the file with engines.load")
    if metric not in METRICS:
        raise UserError(f"--metric is {metric}; expected {', '.join(METRICS)}")
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}; expected at least 1")
    return METRICS[metric]
