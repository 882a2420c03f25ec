"""The kind of the annotations that a run learns from and is evaluated on."""

from typing import Any, Literal

from refinemask.data.coco import CocoDataset
from refinemask.data.lvis import LvisDataset
from refinemask.evaluation.metrics import METRICS, Metric


def format_of(dataset: CocoDataset) -> Literal["coco", "lvis"]:
    """Whose kind the annotations are of."""
    return "lvis" if isinstance(dataset, LvisDataset) else "coco"


def metric_of(dataset: CocoDataset) -> Metric[Any]:
    """The way to measure accuracy on annotations of that kind."""
    return METRICS[format_of(dataset)]
