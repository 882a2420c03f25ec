"""A picture of 10,000 × 10,000 pixels with 3,000 nuclei: all are found, each once, in less than 2 GB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2e9
"""Bytes of the most memory that the process may ever have had."""
SCRIPT = """
import json, resource, sys
import numpy as np
from refinemask.streaming.images import predict_images
from tests.refinemask.test_large_pictures import nuclei, picture
from tests.support.nuclei_finder import NucleiFinder

[found] = predict_images(NucleiFinder(1024), [picture()], batch_size=2, tile=1024, overlap=128)
results = found.to_coco()
peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak": peak, "results": results}))
"""
SIDE, PITCH = 10_000, 180


def nuclei() -> list[tuple[int, int, int]]:
    """(x, y, radius) of 3,000 disks that do not touch, some of them cut by the picture's edge."""
    random = np.random.default_rng(0)
    cells = random.permutation([(row, column) for row in range(56) for column in range(56)])[:3000]
    radius = random.integers(4, 60, len(cells))
    shift = random.integers(-25, 26, (len(cells), 2))
    return [
        (int(PITCH * column + 30 + dx), int(PITCH * row + 30 + dy), int(r))
        for (row, column), (dy, dx), r in zip(cells, shift, radius, strict=True)
    ]


def disk(x: int, y: int, radius: int) -> tuple[slice, slice, np.ndarray]:
    """Rows and columns of the picture around a disk, and its mask there."""
    rows = np.arange(max(0, y - radius), min(SIDE, y + radius + 1))
    columns = np.arange(max(0, x - radius), min(SIDE, x + radius + 1))
    mask = (columns - x) ** 2 + (rows[:, None] - y) ** 2 <= radius**2
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1), mask


def picture() -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for nucleus in nuclei():
        rows, columns, mask = disk(*nucleus)
        image[rows, columns][mask] = 200
    return image


@pytest.mark.slow
def test_three_thousand_nuclei_in_ten_thousand_pixels_squared() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["peak"] < LIMIT
    found = {tuple(np.rint(result["bbox"]).astype(int).tolist()): result for result in told["results"]}
    assert len(found) == len(told["results"]) == 3000
    for nucleus in nuclei():
        rows, columns, mask = disk(*nucleus)
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = columns.start + xs[0], rows.start + ys[0], len(xs), len(ys)
        result = found[tuple(map(int, box))]
        assert coco_mask.area(result["segmentation"]) == mask.sum()
        np.testing.assert_array_equal(coco_mask.toBbox(result["segmentation"]), box)
