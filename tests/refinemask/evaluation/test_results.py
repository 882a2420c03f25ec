"""Results are read with types, and their masks fill their image."""

from typing import Any

import numpy as np
import pytest
import torch

from refinemask.evaluation.results import read_results
from refinemask.files import UserError
from refinemask.masks import paste_rle

HEIGHT, WIDTH = 6, 8
RESULT: dict[str, Any] = {
    "image_id": 3, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5,
    "segmentation": {"size": [HEIGHT, WIDTH], "counts": "5:Q1"},
}  # fmt: skip


def test_what_this_project_writes_stays_as_it_is() -> None:
    masks, boxes = np.ones((2, 4, 4), np.float32), np.array([[1, 1, 4, 4], [0, 0, 0, 0]], np.float32)
    rles = paste_rle(masks, boxes, HEIGHT, WIDTH)
    results = [RESULT, *(RESULT | {"segmentation": rle} for rle in rles)]
    assert read_results(results, HEIGHT, WIDTH, "results.json") == results


@pytest.mark.parametrize(
    "changes",
    [
        {"score": np.float32(0.5), "category_id": np.int64(1)},
        {"bbox": np.array([1.0, 2.0, 3.0, 4.0])},
        {"bbox": [np.float32(1), np.float64(2), 3, 4]},
        {"bbox": torch.tensor([1.0, 2.0, 3.0, 4.0]), "score": torch.tensor(0.5)},
        {"segmentation": {"size": np.array([HEIGHT, WIDTH]), "counts": "5:Q1"}},
    ],
)
def test_numbers_of_numpy_and_pytorch_are_read(changes: dict[str, Any]) -> None:
    assert read_results([RESULT | changes], HEIGHT, WIDTH, "here") == [RESULT]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": float("nan")}, "score: expected a finite number, found nan"),
        ({"score": None}, "score: expected number, found null"),
        ({"bbox": [1, 2, 3]}, "bbox: expected list of length 4, found 3"),
        ({"bbox": [1, 2, 3, float("inf")]}, "bbox: expected finite numbers"),
        ({"bbox": None}, "lacks 'bbox'"),
        ({"segmentation": None}, "lacks 'segmentation'"),
        ({"segmentation": []}, "segmentation: expected a mask, found nothing"),
        ({"segmentation": {"size": [8, 6], "counts": "5:Q1"}}, r"of the size \[8, 6\]"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "5:"}}, "15 pixels together, expected the 48"),
        ({"category_id": "car"}, "category_id: expected whole number, found text"),
    ],
)
def test_malformed_results_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"results.json: image 3: result 1: .*{message}"):
        read_results([RESULT, RESULT | changes], HEIGHT, WIDTH, "results.json: image 3")


@pytest.mark.parametrize("entries", [None, 5, {}, "text", [None], [[RESULT]]])
def test_what_is_no_list_of_results_is_refused(entries: Any) -> None:
    with pytest.raises(UserError, match=r"here: .*expected"):
        read_results(entries, HEIGHT, WIDTH, "here")


def test_a_result_needs_only_what_is_asked_for() -> None:
    box = {key: value for key, value in RESULT.items() if key != "segmentation"}
    assert read_results([box], HEIGHT, WIDTH, "here", required=("bbox",)) == [box]
    mask = {key: value for key, value in RESULT.items() if key != "bbox"}
    assert read_results([mask], HEIGHT, WIDTH, "here", required=("segmentation",)) == [mask]
