"""faster-coco-eval, a reworked pycocotools in C++."""

from collections.abc import Sequence
from pathlib import Path

from faster_coco_eval import COCO, COCOeval_faster

from benchmarks.evaluators.contender import Figures
from benchmarks.evaluators.tables import limits, summarize_tables
from refinemask.evaluation.coco import IoUType


def figures(annotations: Path, results: Path, iou_types: Sequence[IoUType], max_detections: int) -> Figures:
    """The figures of an annotation file and a results file."""
    truth = COCO(str(annotations))
    found = truth.loadRes(str(results))
    summaries: Figures = {}
    for iou_type in iou_types:
        evaluation = COCOeval_faster(truth, found, iou_type)
        evaluation.params.maxDets = limits(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        summaries[iou_type] = summarize_tables(evaluation.eval["precision"], evaluation.eval["recall"])
    return summaries
