import json
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from refinemask.config import Augmentation, DataConfig
from refinemask.data.coco import read_coco
from refinemask.data.sampler import Pick
from refinemask.data.training import TrainingDataset
from refinemask.targets.mask_targets import mask_targets, semantic_target
from tests.fuzz.conftest import Seeds
from tests.support.mutations import refusal
from tests.support.small_annotations import HEIGHT, WIDTH, damaged_content

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


EVERYTHING = Augmentation(scale_jitter=(0.1, 2.0), crop=(64, 96), colour=0.5, rotation=0.5, copy_paste=0.5)


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING], ids=["plain", "augmented"])
@pytest.mark.parametrize("polygons", [True, False])
def test_damaged_annotations_are_refused_or_trained_on(
    seeds: Seeds, tmp_path: Path, polygons: bool, augmentation: Augmentation
) -> None:
    config = DataConfig(
        annotations="a.json",
        images="",
        short_sides=(96,),
        long_side=160,
        polygons=polygons,
        vertical_flip=0.5,
        augmentation=augmentation,
    )
    for name in ("a.png", "b.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    path, trained = tmp_path / "a.json", 0

    def targets(seed: int) -> None:
        nonlocal trained
        dataset = TrainingDataset(read_coco(path), tmp_path, config)
        for index in range(len(dataset)):
            image = dataset[Pick(index, seed)]
            boxes = image.targets.boxes
            assert torch.isfinite(boxes).all()
            assert len(boxes) == len(image.targets.masks) == len(image.targets.labels) > 0
            height, width = image.pixels.shape[:2]
            assert (boxes >= 0).all()
            assert (boxes <= torch.tensor([width, height, width, height])).all()
            found = mask_targets(image.targets.masks, boxes, torch.arange(len(boxes)), (14, 112))
            assert all(((target == 0) | (target == 1)).all() for target in found)
            union = semantic_target([image.targets.masks], image.pixels.shape[:2], (12, 12))
            assert union.shape == (1, 1, 12, 12)
            trained += 1

    for seed, random in enumerate(seeds(120)):
        path.write_text(json.dumps(damaged_content(random)))
        refusal(partial(targets, seed))
    assert trained > 20
