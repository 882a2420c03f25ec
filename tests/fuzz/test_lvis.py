import json
from functools import partial
from pathlib import Path

import pytest

from refinemask.data.lvis import LvisDataset, read_lvis
from refinemask.evaluation.lvis import IOU_TYPES, evaluate_lvis
from tests.fuzz.conftest import Seeds
from tests.support.mutations import mutated_json, refusal
from tests.support.small_annotations import CONTENT, RESULTS, damaged_content

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def figures(dataset: LvisDataset, results: object) -> list[float]:
    return [value for kind in IOU_TYPES for value in evaluate_lvis(dataset, {1: results}, kind).values()]  # type: ignore[dict-item]


def test_damaged_annotations_are_refused_or_measured(seeds: Seeds, tmp_path: Path) -> None:
    path, refused, measured = tmp_path / "a.json", 0, 0
    for random in seeds(300):
        path.write_text(json.dumps(damaged_content(random)))
        if refusal(lambda: read_lvis(path)) is not None:
            refused += 1
            continue
        dataset = read_lvis(path)
        sizes = {image.id: (image.height, image.width) for image in dataset.images}
        if sizes.get(1) == (48, 40):
            assert all(value == -1 or 0 <= value <= 1 for value in figures(dataset, RESULTS))
            measured += 1
    assert refused > 10
    assert measured > 100


def test_damaged_results_are_refused_or_measured(seeds: Seeds, tmp_path: Path) -> None:
    path, refused = tmp_path / "a.json", 0
    path.write_text(json.dumps(CONTENT))
    dataset = read_lvis(path)
    for random in seeds(300):
        results = mutated_json(RESULTS, random)
        message = refusal(partial(figures, dataset, results))
        refused += message is not None
        assert message is None or "image 1" in message
    assert refused > 0
