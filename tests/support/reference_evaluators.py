"""The tables of other evaluators: pycocotools, and those that have boundaries."""

import contextlib
import copy
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import faster_coco_eval
import numpy as np
from numpy.typing import NDArray
from pycocotools import coco, cocoeval
from pycocotools import mask as coco_mask

BOUNDARY_WIDTH = 0.02


class Tables(NamedTuple):
    """Precision [C, 4, 10, 101] and, for ``M`` limits of detections, recall [M, C, 4, 10]; NaN without objects."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class LiteralBoundaries(cocoeval.COCOeval):
    """Boundary AP to the letter of Cheng et al., on whole masks: the boundary is the mask less its erosion."""

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802, N803  # pycocotools' names
        objects, found = self._gts[imgId, catId], self._dts[imgId, catId]
        overlaps = super().computeIoU(imgId, catId)
        if not objects or not found:
            return overlaps
        masks = [entry["segmentation"] for entry in objects + found]
        for entry, mask in zip(objects + found, masks, strict=True):
            entry["segmentation"] = boundary(mask)
        of_boundaries = super().computeIoU(imgId, catId)
        for entry, mask in zip(objects + found, masks, strict=True):
            entry["segmentation"] = mask
        crowd = np.array([entry["iscrowd"] for entry in objects], bool)
        return np.where(crowd, overlaps, np.minimum(overlaps, of_boundaries))


def boundary(rle: dict[str, Any]) -> dict[str, Any]:
    """The pixels of a mask that are nearer to its outside than 2 % of the image's diagonal."""
    mask = coco_mask.decode(rle)
    width = max(1, round(BOUNDARY_WIDTH * float(np.hypot(*mask.shape))))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return coco_mask.encode(np.asfortranarray(mask - eroded))


def pycocotools_tables(content: Any, results: Any, iou_type: str, limits: Sequence[int]) -> Tables:
    """The tables of pycocotools; those of boundaries by :class:`LiteralBoundaries`."""
    kind = LiteralBoundaries if iou_type == "boundary" else cocoeval.COCOeval
    return _tables(coco.COCO, kind, content, results, "bbox" if iou_type == "bbox" else "segm", limits)


def faster_coco_eval_tables(content: Any, results: Any, iou_type: str, limits: Sequence[int]) -> Tables:
    """The tables of faster-coco-eval."""
    return _tables(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, content, results, iou_type, limits)


def _tables(api: Any, evaluator: Any, content: Any, results: Any, iou_type: str, limits: Sequence[int]) -> Tables:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = api()
        # Both write into what they read.
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        evaluation = evaluator(truth, truth.loadRes(copy.deepcopy(results)), iou_type)
        evaluation.params.maxDets = sorted(limits)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (
        np.where(table > -1, table, np.nan) for table in map(evaluation.eval.get, ("precision", "recall"))
    )
    return Tables(precision[..., -1].transpose(2, 3, 0, 1), recall.transpose(3, 1, 2, 0))
