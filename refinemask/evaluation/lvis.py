"""LVIS average precision on federated annotations (Gupta et al., LVIS, CVPR 2019, section 4).

An image says nothing about most categories. A detection counts only where its category was verified: the image has an
object of it, or lists it as negative. Where an image may have more objects of a category than are annotated, unmatched
detections are ignored. The figures are those of the ``lvis`` package 0.5.3, which current NumPy no longer runs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoAnnotation, CocoImage
from refinemask.data.lvis import FREQUENCIES, LvisDataset
from refinemask.evaluation.average_precision import mean_of_known, precision, recall_by_size, summarize
from refinemask.evaluation.match_tables import Detections, MatchTables, Objects
from refinemask.evaluation.matches import Matches
from refinemask.evaluation.results import read_results
from refinemask.files import UserError
from refinemask.masks import segmentation_rle
from refinemask.structures import Result

MAX_DETECTIONS = 300
"""Detections that count per image, over all categories."""

IoUType = Literal["bbox", "segm"]
IOU_TYPES: tuple[IoUType, ...] = ("bbox", "segm")


def evaluate_lvis(
    dataset: LvisDataset, results: Mapping[int, Sequence[Result]], iou_type: IoUType = "segm"
) -> dict[str, float]:
    """Average precision and recall over the images of ``results``, of the best 300 detections of each.

    The arguments and errors are those of :func:`match_lvis`.

    Returns:
        AP, AP50, AP75, APs, APm, APl, of rare, common and frequent categories APr, APc, APf, and the recalls AR, ARs,
        ARm, ARl in 0..1, or -1 where there is no object to find.
    """
    return lvis_figures(dataset, match_lvis(dataset, results, iou_type))


def lvis_figures(dataset: LvisDataset, matches: Matches) -> dict[str, float]:
    """The figures of :func:`evaluate_lvis`."""
    found = precision(matches)
    frequencies = np.array([dataset.frequencies[category] for category in matches.category_ids])
    by_frequency = {f"AP{f}": mean_of_known(found[frequencies == f, 0]) for f in FREQUENCIES}
    return summarize(found) | by_frequency | recall_by_size(matches)


def match_lvis(dataset: LvisDataset, results: Mapping[int, Sequence[Result]], iou_type: IoUType = "segm") -> Matches:
    """Match the best 300 detections of each image of ``results`` with its objects.

    A detection's area, which matters to the area ranges only, is that of its ``bbox`` if it has one and of its mask
    otherwise. Objects and detections without area are left out. The reference has both rules, too.

    Args:
        dataset: the annotations, or for AP* those of ``read_cocofied``.
        results: entries by image id, read one image at a time, such as a ``PredictionFile``. An image
            without detections has an empty list; categories unknown to the dataset are left out.
        iou_type: overlap of boxes (``bbox``) or of masks (``segm``).

    Raises:
        UserError: there are results of an image that the dataset does not list, a result is malformed, or its mask is
            of another size than its image.
    """
    if unlisted := set(results) - {image.id for image in dataset.images}:
        raise UserError(
            f"{dataset.path}: does not list {len(unlisted)} images of the results (image {min(unlisted)} first); "
            "evaluate them on the annotations they were predicted for"
        )
    required = ("bbox",) if iou_type == "bbox" else ("segmentation",)
    tables = MatchTables(dataset.category_ids, (iou_type,))
    for image in dataset.images:
        if image.id not in results:
            continue
        checked = read_results(results[image.id], image.height, image.width, f"results of image {image.id}", required)
        best = sorted(checked, key=lambda result: -result["score"])[:MAX_DETECTIONS]
        present = [a for a in dataset.annotations[image.id] if a.area > 0]
        verified = ({a.category_id for a in present} | dataset.negative[image.id]) & dataset.labels.keys()
        found = [each for each in best if each["category_id"] in verified and _area(each) > 0]
        overlaps = _Overlaps(image, found, present, iou_type)
        tables.add(image.id, _detections(dataset, image, found), _objects(dataset, present), overlaps)
    return tables.matches()[iou_type]


def _detections(dataset: LvisDataset, image: CocoImage, found: Sequence[Result]) -> Detections:
    exhaustive = [result["category_id"] not in dataset.not_exhaustive[image.id] for result in found]
    return Detections(
        category=np.array([dataset.labels[result["category_id"]] for result in found], np.intp),
        score=np.array([result["score"] for result in found], np.float64),
        area=np.array([_area(result) for result in found], np.float64),
        certain=np.array(exhaustive, bool),
    )


def _objects(dataset: LvisDataset, present: Sequence[CocoAnnotation]) -> Objects:
    return Objects(
        category=np.array([dataset.labels[a.category_id] for a in present], np.intp),
        area=np.array([a.area for a in present], np.float64),
        crowd=np.zeros(len(present), bool),
    )


class _Overlaps:
    """IoU of what was found in an image with what is there."""

    def __init__(
        self, image: CocoImage, found: Sequence[Result], present: Sequence[CocoAnnotation], iou_type: IoUType
    ) -> None:
        self._image, self._found, self._present, self._iou_type = image, found, present, iou_type

    def __call__(self, d: NDArray[np.intp], g: NDArray[np.intp]) -> dict[IoUType, NDArray[np.float64]]:
        found, present = [self._found[index] for index in d.tolist()], [self._present[index] for index in g.tolist()]
        size = self._image.height, self._image.width
        shapes: tuple[list[Any], list[Any]]
        if self._iou_type == "bbox":
            shapes = [result["bbox"] for result in found], [list(a.bbox) for a in present]
        else:
            masks = [segmentation_rle(result["segmentation"], *size) for result in found]
            shapes = masks, [segmentation_rle(a.segmentation, *size) for a in present]
        return {self._iou_type: np.asarray(coco_mask.iou(*shapes, [0] * len(present)))}


def _area(result: Result) -> float:
    if "bbox" in result:
        return float(result["bbox"][2] * result["bbox"][3])
    return float(coco_mask.area(result["segmentation"]))
