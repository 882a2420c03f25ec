"""This project's evaluator, on a results file as other tools write them."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluators.contender import Figures
from refinemask.data.coco import read_coco
from refinemask.evaluation.coco import IoUType, evaluate_coco
from refinemask.evaluation.results_file import ResultsFile


def figures(annotations: Path, results: Path, iou_types: Sequence[IoUType], max_detections: int) -> Figures:
    """The figures of an annotation file and a results file, read as ``refinemask.evaluate --results`` does."""
    dataset = read_coco(annotations)
    return evaluate_coco(dataset, ResultsFile(results, dataset), iou_types, max_detections)
