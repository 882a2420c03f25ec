"""Detections that the GPU suite leaves to be scored elsewhere."""

import json
from pathlib import Path

from benchmarks.gpu_suite.accuracy import ANNOTATIONS, read_detections
from refinemask.data.coco import read_coco
from refinemask.evaluation.coco import evaluate_coco
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_json, refusal


def test_damaged_detections_are_scored_or_refused(seeds: Seeds, tmp_path: Path) -> None:
    dataset = read_coco(ANNOTATIONS)
    images, path = dataset.images[:2], tmp_path / "eager-fp32.json"
    entries = [
        {"image_id": image.id, "category_id": 1, "score": 0.5, "bbox": [0, 0, 4, 4]}
        | {"segmentation": {"size": [image.height, image.width], "counts": [9, image.height * image.width - 9]}}
        for image in images
    ]
    accepted = refused = 0
    for random in seeds(200):
        path.write_text(json.dumps(mutated_json(entries, random)))
        if refusal(lambda: evaluate_coco(dataset, read_detections(path, images), iou_types=("segm", "bbox"))) is None:
            accepted += 1
        else:
            refused += 1
    assert accepted > 5
    assert refused > 50
