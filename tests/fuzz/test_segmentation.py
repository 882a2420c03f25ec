import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refinemask.coco_strings import coco_runs, coco_string
from refinemask.data.mended_segmentation import Box, mend_segmentation
from refinemask.data.segmentation import read_segmentation
from refinemask.files import UserError
from refinemask.masks import segmentation_rle
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_bytes, mutated_json, refusal

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

HEIGHT, WIDTH = 30, 50


def runs_of(random: np.random.Generator) -> list[int]:
    """Run lengths that fill the image, some without a pixel."""
    edges = np.sort(random.integers(0, HEIGHT * WIDTH + 1, random.integers(0, 40)))
    return np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()


def mask_of(runs: list[int]) -> Any:
    return np.repeat(np.arange(len(runs)) % 2, runs).reshape(WIDTH, HEIGHT).T


def refused(value: Any) -> bool:
    message = refusal(lambda: _read(value))
    return message is not None


def _read(value: Any) -> None:
    try:
        read_segmentation(value, HEIGHT, WIDTH)
    except ValueError as error:
        raise UserError(str(error)) from error


def test_run_lengths_of_every_spelling_are_one_mask(seeds: Seeds) -> None:
    for random in seeds(300):
        runs = runs_of(random)
        mask, string = mask_of(runs), coco_string(runs)
        for counts in (runs, [float(run) for run in runs], string, string.decode()):
            segmentation = read_segmentation({"size": [HEIGHT, float(WIDTH)], "counts": counts}, HEIGHT, WIDTH)
            rle = segmentation_rle(segmentation, HEIGHT, WIDTH)
            assert np.array_equal(coco_mask.decode(rle), mask)
            # Two equal masks of which either has runs without a pixel end pycocotools' comparison too early.
            assert coco_mask.iou([rle], [rle], [0])[0][0] == float(mask.any())


def test_damaged_strings_are_refused_or_read_as_pycocotools_reads_them(seeds: Seeds) -> None:
    count = 0
    for random in seeds(600):
        string = mutated_bytes(coco_string(runs_of(random)), random)
        value = {"size": [HEIGHT, WIDTH], "counts": string}
        if refused(value):
            count += 1
        elif string:
            # What fills the image goes to pycocotools without danger.
            segmentation = segmentation_rle(read_segmentation(value, HEIGHT, WIDTH), HEIGHT, WIDTH)
            assert np.array_equal(coco_mask.decode(segmentation), coco_mask.decode(value))
            assert np.array_equal(mask_of(coco_runs(string).tolist()), coco_mask.decode(value))
    assert count > 200


def test_damaged_polygons_are_refused_or_drawn_as_pycocotools_draws_them(seeds: Seeds) -> None:
    drawn = 0
    for random in seeds(600):
        polygons = [random.normal(20, 30, 2 * random.integers(3, 6)).round(1).tolist() for _ in range(3)]
        value = json.loads(json.dumps(mutated_json(polygons, random)))
        if refused(value):
            continue
        segmentation = read_segmentation(value, HEIGHT, WIDTH)
        if segmentation is None:
            continue
        found = coco_mask.decode(segmentation_rle(segmentation, HEIGHT, WIDTH))
        assert found.shape == (HEIGHT, WIDTH)
        polygons = [value] if isinstance(value[0], float) else value
        if max(abs(number) for polygon in polygons for number in polygon) < 1e4:
            direct = coco_mask.frPyObjects([list(map(float, p)) for p in polygons if len(p) > 5], HEIGHT, WIDTH)
            assert np.array_equal(found, coco_mask.decode(coco_mask.merge(direct)))
            drawn += 1
    assert drawn > 30


def _mend(value: Any, box: Box | None) -> None:
    try:
        mend_segmentation(value, HEIGHT, WIDTH, box)
    except ValueError as error:
        raise UserError(str(error)) from error


def test_what_is_mended_is_a_mask_of_the_image(seeds: Seeds) -> None:
    mended = 0
    for random in seeds(400):
        polygons = [random.normal(20, 30, 2 * random.integers(3, 6)).round(1).tolist() for _ in range(3)]
        run_lengths = {"size": [[HEIGHT, WIDTH], [WIDTH, HEIGHT]][random.integers(2)], "counts": runs_of(random)}
        value = json.loads(json.dumps(mutated_json([polygons, run_lengths][random.integers(2)], random)))
        if not refused(value):
            continue
        box = None if random.random() < 0.5 else (5.0, 5.0, 30.0, 20.0)
        if refusal(partial(_mend, value, box)) is not None:
            continue
        segmentation, what = mend_segmentation(value, HEIGHT, WIDTH, box)
        assert what.startswith("objects ")
        if segmentation is not None:
            # It is one that needs no mending.
            assert read_segmentation(segmentation, HEIGHT, WIDTH) == segmentation
            assert coco_mask.decode(segmentation_rle(segmentation, HEIGHT, WIDTH)).shape == (HEIGHT, WIDTH)
            mended += 1
    assert mended > 40
