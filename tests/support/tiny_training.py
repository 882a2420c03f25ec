"""A training small enough for tests: a detector of a few thousand weights, and drawn images of two classes.

As a script it is ``refinemask.train`` with the recipe ``tiny``, for tests that need processes of their own.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refinemask.config import (
    BackboneConfig,
    BoxHeadConfig,
    DataConfig,
    ModelConfig,
    Preprocessing,
    RefineMaskConfig,
    RPNConfig,
    TrainConfig,
)
from refinemask.recipes import RECIPES, Recipe, ValidationData
from refinemask.train import main

SIDE = 64
RECIPE = Recipe(
    model=ModelConfig(
        class_names=("object",),
        category_ids=(1,),
        preprocessing=Preprocessing(short_side=SIDE, long_side=SIDE),
        backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8, frozen_stages=-1, frozen_norm=False),
        fpn_channels=32,
        rpn=RPNConfig(anchor_scale=4.0, candidates_per_level=40, training_candidates_per_level=60, proposals=30),
        box_head=BoxHeadConfig(hidden=32, detections=10, candidates=60),
        mask_head=RefineMaskConfig(instance_convs=1, semantic_convs=1),
    ),
    data=DataConfig(annotations="train.json", images="images", short_sides=(SIDE,), long_side=SIDE),
    validation=ValidationData(annotations="train.json", images="images"),
    train=TrainConfig(
        epochs=2, step_epochs=(1,), batch_size=4, learning_rate=0.01, warmup_iterations=2, rois_per_image=16
    ),
)

FROZEN_RECIPE = replace(RECIPE, model=replace(RECIPE.model, backbone=replace(RECIPE.model.backbone, frozen_norm=True)))
"""Batch norm does not depend on the batch, so that processes can share one."""


def draw_dataset(root: Path, images: int = 8) -> Path:
    """Write ``images`` pictures of a square (polygon) and a disk (run lengths) each, with their annotations."""
    random = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    annotations: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        pixels = random.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        x, y, side = (int(v) for v in (*random.integers(2, 12, 2), random.integers(14, 20)))
        cv2.rectangle(pixels, (x, y), (x + side - 1, y + side - 1), (250, 80, 60), -1)
        polygon = [x, y, x + side, y, x + side, y + side, x, y + side]
        annotations.append(_annotation(image, 3, [x, y, side, side], [polygon]))
        disk = np.zeros((SIDE, SIDE), np.uint8)
        centre, radius = tuple(int(v) for v in random.integers(44, 50, 2)), int(random.integers(7, 11))
        cv2.circle(disk, centre, radius, 1, -1)
        pixels[disk == 1] = (70, 90, 250)
        box = [centre[0] - radius, centre[1] - radius, 2 * radius + 1, 2 * radius + 1]
        annotations.append(_annotation(image, 7, box, {"size": [SIDE, SIDE], "counts": _run_lengths(disk)}))
        cv2.imwrite(str(root / "images" / f"{image}.png"), pixels)
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": SIDE, "width": SIDE} for i in range(1, images + 1)],
        "annotations": [{"id": number, **a} for number, a in enumerate(annotations, start=1)],
        "categories": [{"id": 3, "name": "square"}, {"id": 7, "name": "disk"}],
    }
    (root / "train.json").write_text(json.dumps(content))
    return root


def _annotation(image: int, category: int, box: list[int], segmentation: Any) -> dict[str, Any]:
    area = box[2] * box[3]
    return {
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": area,
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed COCO run lengths: column by column, background first."""
    flat = np.concatenate([[0], mask.flatten(order="F"), [2]])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends])).tolist()


def run() -> int:
    """Train as the command line says; returns the exit code."""
    RECIPES["tiny"] = RECIPE
    RECIPES["tiny-frozen"] = FROZEN_RECIPE
    return main()


if __name__ == "__main__":
    raise SystemExit(run())
