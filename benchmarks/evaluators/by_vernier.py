"""vernier, an evaluator in Rust, in the mode that is to give what the reference gives bit by bit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from vernier.instance import CocoDataset, evaluate_bbox_grid, evaluate_boundary_grid, evaluate_segm_grid

from benchmarks.evaluators.contender import Figures
from benchmarks.evaluators.tables import limits, summarize_tables
from refinemask.evaluation.boundaries import BOUNDARY_WIDTH
from refinemask.evaluation.coco import IoUType

GRIDS = {"bbox": evaluate_bbox_grid, "segm": evaluate_segm_grid, "boundary": evaluate_boundary_grid}


def figures(annotations: Path, results: Path, iou_types: Sequence[IoUType], max_detections: int) -> Figures:
    """The figures of an annotation file and a results file."""
    truth = CocoDataset.from_json(annotations.read_bytes())
    found = results.read_bytes()
    summaries: Figures = {}
    for iou_type in iou_types:
        width = {"dilation_ratio": BOUNDARY_WIDTH} if iou_type == "boundary" else {}
        grid = GRIDS[iou_type](
            truth, found, parity_mode="strict", max_dets_per_image=max_detections, use_cats=True, **width
        )
        tables = grid.accumulate(limits(max_detections))
        summaries[iou_type] = summarize_tables(np.asarray(tables.precision), np.asarray(tables.recall))
    return summaries
