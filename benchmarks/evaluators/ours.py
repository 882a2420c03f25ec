"""This project's evaluator, on a results file as other tools write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.evaluators.contender import Figures
from refinemask.data.coco import read_coco
from refinemask.evaluation.coco import IoUType, evaluate_coco
from refinemask.json_files import parse_json


def figures(annotations: Path, results: Path, iou_types: Sequence[IoUType], max_detections: int) -> Figures:
    """The figures of an annotation file and a results file."""
    dataset = read_coco(annotations)
    by_image: dict[int, list[dict[str, Any]]] = {image.id: [] for image in dataset.images}
    for entry in parse_json(results.read_bytes()):
        by_image[entry["image_id"]].append(entry)
    return evaluate_coco(dataset, by_image, iou_types, max_detections)
