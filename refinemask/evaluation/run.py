"""The accuracy of an engine on an annotated data set."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from refinemask.data.annotated import is_there
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.data.coco_text import dataset_text
from refinemask.data.reading import is_json_file, read_annotations, split_path
from refinemask.evaluation.bootstrap import RESAMPLES
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.measurement import Measurement, measure
from refinemask.evaluation.metrics import METRICS, Metric, MetricName
from refinemask.files import UserError, sha256
from refinemask.json_files import short
from refinemask.options import require_at_least, require_own_files
from refinemask.prediction import Predictor
from refinemask.selection import WHOLE, Selection
from refinemask.streaming.plan import StreamOptions
from refinemask.tiling import Tiling, make_tiling
from refinemask.window import spelled


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measurement):
    """The accuracy that :func:`evaluate` measured, with the engine and the data it was measured on."""

    model: str | None
    """Name of the engine's file, if it was given, or of the results file that was measured."""
    metric: MetricName
    """Metric of the figures."""
    engine: str
    """Runtime, such as ``PyTorch``, or ``results of another tool``."""
    precision: str
    """Arithmetic of the convolutions; empty where nothing was run."""
    sha256: dict[str, str]
    """SHA-256 of the annotations, and of the model or the results if their file was given."""
    class_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Names of the annotations' classes by category id."""
    selection: Selection = WHOLE
    """Number of detections and score threshold, where they are others than the model's own."""

    def to_json(self) -> str:
        """The report that ``python -m refinemask.evaluate --output`` writes."""
        names = "model", "metric", "engine", "precision", "sha256", "images", "skipped", "max_detections", "figures"
        values = vars(self) | {"skipped": len(self.skipped)}
        asked = {name: value for name, value in asdict(self.selection).items() if value is not None}
        intervals = {"intervals": self.intervals} if self.intervals else {}
        return json.dumps({name: values[name] for name in names} | intervals | asked, indent=2)


def evaluate(
    engine: Predictor | Callable[[], Predictor],
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    metric: MetricName = "coco",
    iou_types: Sequence[IoUType] | None = None,
    max_detections: int | None = None,
    crowd_as_object: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    model: str | os.PathLike[str] | None = None,
    predictions: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] | None = None,
    resamples: int = RESAMPLES,
    pictures: int = 0,
) -> Evaluation:
    """Measure the average precision of boxes, masks and mask boundaries.

    The processes that ``torchrun`` started divide the images and all get the same evaluation, inside
    ``refinemask.distributed.process_group``.

    Args:
        engine: what ``engines.load`` opens, another predictor, or a function that opens one; it is called once
            annotations and images have been looked at.
        annotations: annotation file of the metric's kind; for coco, annotations of any format that
            docs/annotation-formats.md describes.
        images: folder of the images that the annotations name.
        metric: ``coco``; ``lvis``; or ``ap-star``, LVIS's figures of a COCO detector on COCO's categories of LVIS.
        iou_types: ``bbox``, ``segm`` and, for coco alone, ``boundary``; None is all of the metric.
        max_detections: detections that count per image and class, for coco; None is 100, or more where an image has
            more objects.
        crowd_as_object: whether objects that are marked as crowds are looked for, too; for coco.
        limit: use only the first so many images.
        batch_size: images, or tiles, that go through the network together; None is what the engine prefers.
        workers: threads that decode, and that resize and paste; None chooses by the processors.
        tile: side in pixels of the tiles in which larger images are predicted; None leaves every image whole.
        overlap: width in pixels of the band that neighbouring tiles share; None is an eighth of the tile.
        model: the engine's file, which kept predictions are bound to.
        predictions: file that keeps the predictions, one line per image; an interrupted run continues from it. It is
            bound to the model, the tiles, the annotations and the images' files.
        results: COCO results file of all detections to write.
        resamples: number of bootstrap resamples of the images for the intervals of AP; 0 leaves them out.
        pictures: largest number of images, for coco, of which the evaluation gets pictures: those in which masks and
            annotations differ most.

    Raises:
        UserError: an argument makes no sense, a file cannot be read or written, the engine does not find the classes
            of the annotations, or no image could be used.
    """
    if not hasattr(engine, "detect") and not callable(engine):
        raise UserError(f"{engine}: expected an engine; open the file with engines.load")
    require_at_least(1, limit=limit, max_detections=max_detections)
    require_at_least(0, resamples=resamples)
    options = StreamOptions(batch_size=batch_size, workers=workers, tiling=make_tiling(tile, overlap))
    if predictions is not None and model is None:
        raise UserError(f"{predictions}: kept predictions belong to a model's file; name it, too: model=…")
    require_own_files({"--predictions": predictions, "--results": results}, annotations, model)
    chosen = find_metric(metric)
    chosen.require_options(iou_types, max_detections)
    dataset, digest = read_dataset(chosen, annotations, images, crowd_as_object)
    dataset = replace(dataset, images=dataset.images[:limit])
    require_images(dataset, images)
    predictor = _opened(engine)
    chosen.require_classes(dataset, predictor.config, str(model or predictor.name))
    source = {} if model is None else {"model": sha256(model)}
    source["annotations"] = digest
    measured = measure(
        predictor,
        chosen,
        dataset,
        images,
        iou_types=iou_types,
        max_detections=max_detections,
        options=options,
        predictions=None if predictions is None else Path(predictions),
        source=source | _settings(predictor, options.tiling),
        results=None if results is None else Path(results),
        resamples=resamples,
        pictures=pictures,
    )
    return Evaluation(
        **vars(measured),
        model=None if model is None else Path(model).name,
        metric=metric,
        engine=predictor.name,
        precision=predictor.precision,
        sha256=source,
        class_names=dict(dataset.categories),
        selection=_selection(predictor),
    )


def find_metric(name: MetricName) -> Metric[Any]:
    """The metric of a name; a UserError if there is none."""
    if name not in METRICS:
        raise UserError(f"--metric is {name}; expected {', '.join(METRICS)}")
    return METRICS[name]


def read_dataset(
    metric: Metric[Any],
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str] | None,
    crowd_as_object: bool,
) -> tuple[CocoDataset, str]:
    """The annotations, and the SHA-256 of their file, or of the COCO file that those of another format become."""
    if metric.name != "coco":
        if crowd_as_object:
            raise UserError(f"--crowd-as-object is for --metric coco; --metric is {metric.name}")
        return metric.read(annotations, images), sha256(annotations)
    if is_json_file(annotations) or not os.path.exists(split_path(annotations)[0]):
        return read_coco(annotations, images, crowd_as_object=crowd_as_object), sha256(annotations)
    dataset = read_annotations(annotations, images)
    return dataset, hashlib.sha256(dataset_text(dataset).encode()).hexdigest()


def _settings(predictor: Predictor, tiling: Tiling | None) -> dict[str, str]:
    """What predictions depend on beside files; without what is as it usually is."""
    window = predictor.config.preprocessing.window
    return {
        "engine": predictor.name,
        "precision": predictor.precision,
        **({} if tiling is None else {"tiling": f"{tiling.tile}, {tiling.overlap}"}),
        **({} if window is None else {"window": spelled(window)}),
        **_selection(predictor).source(),
    }


def _selection(predictor: Predictor) -> Selection:
    return getattr(predictor, "selection", WHOLE)


def _opened(engine: Predictor | Callable[[], Predictor]) -> Predictor:
    return engine() if callable(engine) and not hasattr(engine, "detect") else engine  # type: ignore[return-value]


def require_images(dataset: CocoDataset, directory: str | os.PathLike[str] | None) -> None:
    """Raise a UserError unless ``dataset`` has images, of which at least one is in ``directory``, if that is given."""
    if not dataset.images:
        raise UserError(f"{dataset.path}: its list 'images' is empty, expected the annotated images")
    if directory is not None and not any(is_there(directory, image) for image in dataset.images):
        raise UserError(
            f"{directory}: has none of the {len(dataset.images)} images of {dataset.path}, such as "
            f"{short(dataset.images[0].file_name)}; name the folder that their file names begin from (--images)"
        )
