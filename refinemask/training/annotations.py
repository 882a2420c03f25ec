"""The annotations that a run learns from and is evaluated on: the one place where training reads them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from refinemask.data.coco import CocoAnnotation, CocoDataset, parse_coco, read_json_object
from refinemask.data.findings import Findings
from refinemask.data.lvis import LvisDataset, parse_lvis
from refinemask.evaluation.metrics import METRICS, Metric


def read_annotations(path: Path, images: Path, crowd_as_object: bool = False) -> CocoDataset:
    """Read annotations of LVIS, whose images list the categories that they do not show, or else of COCO.

    Args:
        path: the annotation file.
        images: folder of the images' files.
        crowd_as_object: whether objects that are marked as crowds become objects as all others.

    Raises:
        UserError: the file cannot be read, or an entry is incomplete or refers to nothing.
    """
    content = read_json_object(path)
    dataset = parse_lvis(path, content) if _is_lvis(content) else parse_coco(path, content)
    return _with_crowds_as_objects(dataset) if crowd_as_object else dataset


def format_of(dataset: CocoDataset) -> Literal["coco", "lvis"]:
    """Whose kind the annotations are of."""
    return "lvis" if isinstance(dataset, LvisDataset) else "coco"


def metric_of(dataset: CocoDataset) -> Metric[Any]:
    """The way to measure accuracy on annotations of that kind."""
    return METRICS[format_of(dataset)]


def _is_lvis(content: dict[str, Any]) -> bool:
    images = content.get("images")
    first = images[0] if isinstance(images, list) and images else None
    return isinstance(first, dict) and "neg_category_ids" in first


def _with_crowds_as_objects(dataset: CocoDataset) -> CocoDataset:
    findings = Findings()

    def as_object(annotation: CocoAnnotation) -> CocoAnnotation:
        if not annotation.iscrowd:
            return annotation
        findings.mended("objects marked as crowds (--crowd-as-object)", f"annotation {annotation.id}")
        return replace(annotation, iscrowd=False)

    annotations = {image: tuple(map(as_object, group)) for image, group in dataset.annotations.items()}
    return replace(dataset, annotations=annotations, findings=(*dataset.findings, *findings))
