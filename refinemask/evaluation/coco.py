"""COCO average precision of boxes, masks and mask boundaries.

The figures are those of ``pycocotools`` on the same result file. The area of an object is the annotated one. The area
of a detection, which matters to the area ranges only, is that of its ``bbox``, for masks too: so pycocotools reads
entries with a ``bbox``, and so the published AP of small, medium and large objects were measured.
Boundary AP (Cheng et al., Boundary IoU, CVPR 2021) takes the smaller of mask IoU and boundary IoU.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.data.coco import CocoAnnotation, CocoDataset, CocoImage
from refinemask.evaluation.average_precision import precision, summarize, summarize_recall
from refinemask.evaluation.boundaries import boundary_overlaps
from refinemask.evaluation.match_tables import Detections, MatchTables, Objects
from refinemask.evaluation.matches import Matches
from refinemask.evaluation.results import read_results
from refinemask.masks import segmentation_rle
from refinemask.structures import Result

IoUType = Literal["bbox", "segm", "boundary"]
IOU_TYPES: tuple[IoUType, ...] = ("bbox", "segm", "boundary")
COCO_MAX_DETECTIONS = 100


def default_max_detections(dataset: CocoDataset) -> int:
    """COCO's 100 detections per image, or as many as the most crowded image has objects."""
    return max([COCO_MAX_DETECTIONS, *map(len, dataset.annotations.values())])


def evaluate_coco(
    dataset: CocoDataset,
    results: Mapping[int, Sequence[Result]],
    iou_types: Sequence[IoUType] = IOU_TYPES,
    max_detections: int | None = None,
) -> dict[str, dict[str, float]]:
    """Average precision and recall over the images of ``results``.

    The arguments and errors are those of :func:`match_coco`.

    Returns:
        For each IoU type AP, AP50, AP75, APs, APm, APl and the recalls AR1, AR10, AR, ARs, ARm, ARl in 0..1, or -1
        where there is no object to find.
    """
    return {kind: coco_figures(each) for kind, each in match_coco(dataset, results, iou_types, max_detections).items()}


def coco_figures(matches: Matches) -> dict[str, float]:
    """The figures of :func:`evaluate_coco` of one IoU type."""
    return summarize(precision(matches)) | summarize_recall(matches)


def match_coco(
    dataset: CocoDataset,
    results: Mapping[int, Sequence[Result]],
    iou_types: Sequence[IoUType] = IOU_TYPES,
    max_detections: int | None = None,
) -> dict[IoUType, Matches]:
    """Match the detections of the images of ``results`` with their objects.

    One image's masks are in memory at a time.

    Args:
        dataset: the annotations.
        results: entries by image id, such as a ``PredictionFile``; an image without detections has an empty list,
            and one that is absent is not evaluated.
        iou_types: kinds of overlap to judge by.
        max_detections: detections that count per image and category; None is :func:`default_max_detections`.

    Returns:
        The matches by IoU type.

    Raises:
        UserError: a result is malformed, or its mask is of another size than its image.
    """
    most = default_max_detections(dataset) if max_detections is None else max_detections
    tables = MatchTables(dataset.category_ids, iou_types)
    labels = dataset.labels
    required = ("bbox",) if set(iou_types) <= {"bbox"} else ("bbox", "segmentation")
    for image in dataset.images:
        if image.id not in results:
            continue
        checked = read_results(results[image.id], image.height, image.width, f"results of image {image.id}", required)
        found = [result for result in checked if result["category_id"] in labels]
        present = dataset.annotations[image.id]
        detections = Detections(
            category=np.array([labels[result["category_id"]] for result in found], np.intp),
            score=np.array([result["score"] for result in found], np.float64),
            area=np.array([result["bbox"][2] * result["bbox"][3] for result in found], np.float64),
        )
        objects = Objects(
            category=np.array([labels[a.category_id] for a in present], np.intp),
            area=np.array([a.area for a in present], np.float64),
            crowd=np.array([a.iscrowd for a in present], bool),
        )
        tables.add(image.id, detections, objects, _Overlaps(image, found, present, iou_types), most)
    return tables.matches()


class _Overlaps:
    """IoU of what was found in an image with what is there; for a crowd, the share of the detection in the crowd."""

    def __init__(
        self,
        image: CocoImage,
        found: Sequence[Result],
        present: Sequence[CocoAnnotation],
        iou_types: Sequence[IoUType],
    ) -> None:
        self._image, self._found, self._present, self._kinds = image, found, present, iou_types

    def __call__(self, d: NDArray[np.intp], g: NDArray[np.intp]) -> dict[IoUType, NDArray[np.float64]]:
        found, present = [self._found[index] for index in d.tolist()], [self._present[index] for index in g.tolist()]
        crowd = [int(a.iscrowd) for a in present]
        overlaps: dict[IoUType, NDArray[np.float64]] = {}
        if "bbox" in self._kinds:
            boxes = [result["bbox"] for result in found], [list(a.bbox) for a in present]
            overlaps["bbox"] = np.asarray(coco_mask.iou(*boxes, crowd))
        if {"segm", "boundary"} & set(self._kinds):
            size = self._image.height, self._image.width
            masks = [segmentation_rle(result["segmentation"], *size) for result in found]
            objects = [segmentation_rle(a.segmentation, *size) for a in present]
            overlaps["segm"] = np.asarray(coco_mask.iou(masks, objects, crowd))
            if "boundary" in self._kinds:
                overlaps["boundary"] = boundary_overlaps(masks, objects, overlaps["segm"], np.array(crowd, bool))
        return {kind: overlaps[kind] for kind in self._kinds}
