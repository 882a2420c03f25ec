"""Whole iterations of training on the bundled photographs, without a package that reads polygons."""

import numpy as np
import pytest

from benchmarks.gpu_suite.training import BATCHES, Photographs, run_training
from refinemask.bundled import PHOTOS
from refinemask.data.coco import read_coco
from refinemask.data.sampler import Pick
from tests.benchmarks.gpu_suite.conftest import MakeContext


def test_every_batch_trains(make_context: MakeContext) -> None:
    context = make_context()
    report = run_training(context)
    assert [(time.batch, time.compiled) for time in report.times] == [(batch, False) for batch in BATCHES]
    assert all(time.images_per_second > 0 and time.peak_memory_bytes is None for time in report.times)
    left_out = {each.name: each.reason for each in context.outcomes if each.status != "done"}
    assert set(left_out) == {f": batch {batch}, compiled" for batch in BATCHES}
    assert all(reason and reason.endswith("only with --part") for reason in left_out.values())


def test_an_object_s_mask_fills_its_box() -> None:
    photos = Photographs(read_coco(PHOTOS / "annotations" / "instances_val.json"), (200, 320), classes=2)
    assert len(photos) == len(photos.aspect_ratios) == 12
    assert photos.objects > 5
    image = photos[Pick(0, seed=5)]
    assert image.pixels.shape == (200, 320, 3)
    assert image.targets.seed == 5
    assert len(image.targets.masks) == len(image.targets.boxes) == len(image.targets.labels) > 0
    assert set(image.targets.labels.tolist()) <= {0, 1}
    large = (image.targets.boxes[:, 2:] - image.targets.boxes[:, :2]).amin(1) > 20
    assert large.any()
    for mask, (x1, y1, x2, y2) in zip(np.array(image.targets.masks)[large], image.targets.boxes[large], strict=True):
        rows, columns = np.nonzero(mask)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(found - np.array([x1, y1, x2, y2])).max() <= 2
        assert mask.sum() == pytest.approx(np.pi / 4 * float((x2 - x1) * (y2 - y1)), rel=0.15)
