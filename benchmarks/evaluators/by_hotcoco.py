"""hotcoco, pycocotools in Rust."""

from collections.abc import Sequence
from pathlib import Path

import hotcoco
import numpy as np

from benchmarks.evaluators.contender import Figures
from benchmarks.evaluators.tables import limits, summarize_tables
from refinemask.evaluation.coco import IoUType


def figures(annotations: Path, results: Path, iou_types: Sequence[IoUType], max_detections: int) -> Figures:
    """The figures of an annotation file and a results file."""
    truth = hotcoco.COCO(str(annotations))
    found = truth.load_res(str(results))
    summaries: Figures = {}
    for iou_type in iou_types:
        evaluation = hotcoco.COCOeval(truth, found, iou_type)
        evaluation.params.max_dets = limits(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        tables = evaluation.eval
        summaries[iou_type] = summarize_tables(np.asarray(tables["precision"]), np.asarray(tables["recall"]))
    return summaries
