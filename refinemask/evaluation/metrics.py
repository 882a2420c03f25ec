"""The metrics of an evaluation: the annotations that each reads, the detectors that it is for, and its figures."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from refinemask.config import ModelConfig
from refinemask.data.categories import COCO
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.data.lvis import LvisDataset, read_lvis
from refinemask.evaluation.ap_star import read_cocofied
from refinemask.evaluation.coco import IOU_TYPES, IoUType, coco_figures, default_max_detections, match_coco
from refinemask.evaluation.lvis import IOU_TYPES as LVIS_IOU_TYPES
from refinemask.evaluation.lvis import MAX_DETECTIONS, lvis_figures, match_lvis
from refinemask.evaluation.matches import Matches
from refinemask.exit_codes import printable
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.structures import Result

MetricName = Literal["coco", "lvis", "ap-star"]
Figures = dict[str, dict[str, float]]
"""Average precisions and recalls by kind of overlap (bbox, segm, boundary), then by name."""
Data = TypeVar("Data", bound=CocoDataset)
Read = TypeVar("Read", bound=CocoDataset, covariant=True)
LISTED_CLASSES, LISTED_CHARACTERS = 3, 40
"""Classes that an error lists of a detector, and characters of each name."""


class Reader(Protocol[Read]):
    """A reader of annotation files."""

    def __call__(self, path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, /) -> Read:
        """Read a file; the images' folder tells the sizes that it lacks."""


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[Data]):
    """One way to measure accuracy."""

    name: MetricName
    """Name of the metric on the command line."""
    read: Reader[Data]
    """Reader of an annotation file of the metric's kind."""
    match: Callable[[Data, Mapping[int, Sequence[Result]], Sequence[IoUType], int], dict[IoUType, Matches]]
    """Function of annotations, results by image id, kinds of overlap and number of detections, to the matches."""
    figures: Callable[[Data, Matches], dict[str, float]]
    """Function of annotations and the matches of one kind of overlap, to the figures."""
    iou_types: tuple[IoUType, ...] = IOU_TYPES
    """Kinds of overlap that the metric has."""
    fixed_max_detections: int | None = None
    """Detections that count per image, if the metric leaves no choice."""
    same_names: bool = True
    """Whether detector and annotations must agree in a category's id and name, or in the id alone."""
    category_ids: tuple[int, ...] | None = None
    """Category ids that a detector must have exactly; None is for any detector."""

    def max_detections(self, dataset: Data, wanted: int | None = None) -> int:
        """Number of detections that count: fixed per image, or else ``wanted`` or the default per image and class."""
        return self.fixed_max_detections or wanted or default_max_detections(dataset)

    def require_options(self, iou_types: Sequence[IoUType] | None, max_detections: int | None) -> None:
        """Raise a UserError unless the metric has these kinds of overlap, and takes this number of detections."""
        if isinstance(iou_types, str) or set(iou_types or ()) - set(IOU_TYPES):
            raise UserError(f"iou_types is {iou_types!r}; expected some of {', '.join(IOU_TYPES)}")
        if not set(iou_types or ()) <= set(self.iou_types) or (self.fixed_max_detections and max_detections):
            raise UserError(
                f"--metric {self.name} has no boundaries and always {self.fixed_max_detections} detections per image"
            )

    def require_classes(self, dataset: Data, config: ModelConfig, detector: str, remedy: str = "") -> None:
        """Raise a UserError unless a detector of ``config`` finds all classes of ``dataset``.

        Args:
            dataset: the annotations.
            config: the detector's configuration.
            detector: what the error calls it.
            remedy: what the error says to do; for a detector in a file if not given.
        """
        known = classes(config)
        if self.category_ids not in (None, config.category_ids):
            raise UserError(f"{detector}: finds {len(known)} classes; AP* is for a detector of COCO's 80")
        for category, name in dataset.categories.items():
            if category not in known or (self.same_names and known[category] != name):
                shown = one_line(printable(name.strip()), LISTED_CHARACTERS)
                remedy = remedy or (
                    "evaluate it on annotations of its own classes, or give it these ids and names when it is "
                    f"converted: python -m refinemask.convert … --categories {dataset.path}"
                )
                raise UserError(
                    f"{detector}: finds {listed(known)}, of which none is category {category} ({shown}) of "
                    f"{dataset.path}; {remedy}"
                )


def classes(config: ModelConfig) -> dict[int, str]:
    """Names of the classes that a detector finds, by category id."""
    return dict(zip(config.category_ids, config.class_names, strict=True))


def listed(names: Mapping[int, str]) -> str:
    """Classes as errors list them: their number and the first ones, such as ``80 classes (1 person, 2 bicycle, …)``."""
    first = list(names.items())[:LISTED_CLASSES]
    shown = ", ".join(f"{category} {one_line(printable(name.strip()), LISTED_CHARACTERS)}" for category, name in first)
    return f"{len(names)} classes ({shown}{', …' if len(names) > LISTED_CLASSES else ''})"


def _match_lvis(
    dataset: LvisDataset, results: Mapping[int, Sequence[Result]], iou_types: Sequence[IoUType], _: int
) -> dict[IoUType, Matches]:
    return {iou_type: match_lvis(dataset, results, iou_type) for iou_type in iou_types if iou_type != "boundary"}


def _coco_figures(_: CocoDataset, matches: Matches) -> dict[str, float]:
    return coco_figures(matches)


def _lvis(
    name: MetricName,
    read: Reader[LvisDataset],
    category_ids: tuple[int, ...] | None = None,
) -> Metric[LvisDataset]:
    return Metric(
        name=name,
        read=read,
        match=_match_lvis,
        figures=lvis_figures,
        iou_types=LVIS_IOU_TYPES,
        fixed_max_detections=MAX_DETECTIONS,
        # LVIS has other names for COCO's classes, and an official LVIS checkpoint has none.
        same_names=False,
        category_ids=category_ids,
    )


METRICS: dict[MetricName, Metric[Any]] = {
    "coco": Metric(name="coco", read=read_coco, match=match_coco, figures=_coco_figures),
    "lvis": _lvis("lvis", read_lvis),
    "ap-star": _lvis("ap-star", read_cocofied, COCO.category_ids),
}
"""The metrics, by name."""
