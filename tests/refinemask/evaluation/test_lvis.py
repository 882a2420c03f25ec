"""LVIS evaluation against the figures of the `lvis` package and cases with known answers."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refinemask.data.lvis import LvisDataset, read_lvis
from refinemask.evaluation import lvis
from refinemask.files import UserError
from tests.support.coco_results import group_by_image
from tests.support.lvis_cases import SYNTHETIC, jittered, synthetic_case
from tests.support.tolerances import TOLERANCES

GOLDEN = Path(__file__).parents[2] / "golden"
EXPECTED = json.loads((GOLDEN / "lvis_ap.json").read_text())
CAR, BUS, TRAM = 1, 2, 3


def lvis_dataset(path: Path, content: dict[str, Any]) -> LvisDataset:
    path.write_text(json.dumps(content))
    return read_lvis(path)


def evaluate_lvis(
    dataset: LvisDataset, results: Iterable[dict[str, Any]], iou_type: lvis.IoUType = "segm"
) -> dict[str, float]:
    return lvis.evaluate_lvis(dataset, group_by_image(dataset, list(results)), iou_type)


def assert_same(found: dict[str, float], expected: dict[str, float]) -> None:
    """The goldens have no recalls."""
    assert [name for name in found if name.startswith("AP")] == list(expected)
    tolerance = TOLERANCES["average precision"]
    same = [found[name] for name in expected]
    np.testing.assert_allclose(same, list(expected.values()), atol=tolerance.absolute, rtol=0)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_equals_the_reference_on_synthetic_cases(name: str, tmp_path: Path) -> None:
    seed, bbox, iou_type = SYNTHETIC[name]
    content, results = synthetic_case(seed, bbox=bbox)
    assert_same(evaluate_lvis(lvis_dataset(tmp_path / "lvis.json", content), results, iou_type), EXPECTED[name])


@pytest.mark.parametrize("name", ["lvis_v0.5_val_cut.json", "lvis_v0.5_val_cut_cocofied.json"])
def test_equals_the_reference_on_lvis(name: str) -> None:
    path = GOLDEN / name
    assert_same(evaluate_lvis(read_lvis(path), jittered(json.loads(path.read_text()))), EXPECTED[name])


def test_the_order_of_results_of_different_scores_does_not_matter(tmp_path: Path) -> None:
    content, results = synthetic_case(16)
    distinct = [result | {"score": 1 / (position + 2)} for position, result in enumerate(results)]
    dataset = lvis_dataset(tmp_path / "lvis.json", content)
    shuffled = [distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))]
    assert evaluate_lvis(dataset, shuffled) == evaluate_lvis(dataset, distinct)


def one_image(tmp_path: Path, *more_cars: dict[str, Any], **lists: list[int]) -> LvisDataset:
    """One image of 100x100 with a car of 10x10 at the top left, verified to have no bus; nothing is known of trams."""
    image = {"id": 9, "height": 100, "width": 100, "coco_url": "http://x/val2017/9.jpg"}
    cars = [detection(CAR, 0, 1.0), *more_cars]
    return lvis_dataset(
        tmp_path / "lvis.json",
        {
            "images": [image | {"neg_category_ids": [BUS], "not_exhaustive_category_ids": []} | lists],
            "categories": [
                {"id": category, "name": f"thing {category}", "frequency": "f"} for category in (CAR, BUS, TRAM)
            ],
            "annotations": [
                {"area": 100.0, "segmentation": [[0, 0, 1, 0, 1, 1]]} | car | {"id": number}
                for number, car in enumerate(cars, 1)
            ],
        },
    )


def detection(category: int, x: float, score: float) -> dict[str, Any]:
    """A box of 10x10 at (x, 0)."""
    return {"image_id": 9, "category_id": category, "score": score, "bbox": [float(x), 0.0, 10.0, 10.0]}


def test_ground_truth_as_detections_is_perfect(tmp_path: Path) -> None:
    measured = evaluate_lvis(one_image(tmp_path), [detection(CAR, 0, 0.5)], "bbox")
    assert measured == pytest.approx(
        {"AP": 1, "AP50": 1, "AP75": 1, "APs": 1, "APm": -1, "APl": -1, "APr": -1, "APc": -1, "APf": 1}
        | {"AR": 1, "ARs": 1, "ARm": -1, "ARl": -1}
    )


def test_overlap_decides_at_which_thresholds_a_detection_counts(tmp_path: Path) -> None:
    # Shifted by 2 of 10 pixels: IoU 80 / 120 = 0.667, that is right at 0.5, 0.55, 0.6 and 0.65.
    measured = evaluate_lvis(one_image(tmp_path), [detection(CAR, 2, 0.5)], "bbox")
    assert measured["AP"] == pytest.approx(0.4)
    assert (measured["AP50"], measured["AP75"]) == (pytest.approx(1.0), 0.0)


@pytest.mark.parametrize(
    ("false", "lists", "expected"),
    [
        (detection(CAR, 50, 0.9), {}, 0.5),
        (detection(CAR, 50, 0.9), {"not_exhaustive_category_ids": [CAR]}, 1.0),
        (detection(TRAM, 50, 0.9), {}, 1.0),
    ],
    ids=["counts in a verified category", "ignored where objects may be missing", "ignored in an unverified category"],
)
def test_false_detections(false: dict[str, Any], lists: dict[str, list[int]], expected: float, tmp_path: Path) -> None:
    dataset = one_image(tmp_path, **lists)
    assert evaluate_lvis(dataset, [false, detection(CAR, 0, 0.5)], "bbox")["AP"] == pytest.approx(expected)


def test_a_second_detection_of_an_object_is_false_and_costs_nothing_below_the_first(tmp_path: Path) -> None:
    twice = [detection(CAR, 0, 0.9), detection(CAR, 0, 0.8)]
    assert evaluate_lvis(one_image(tmp_path), twice, "bbox")["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(("second", "expected"), [(0, 1.0), (4, 51 / 101)], ids=["the first is left", "it is taken"])
def test_of_two_objects_overlapped_alike_the_last_is_matched(second: float, expected: float, tmp_path: Path) -> None:
    dataset = one_image(tmp_path, detection(CAR, 4, 1.0))
    measured = evaluate_lvis(dataset, [detection(CAR, 2, 0.9), detection(CAR, second, 0.8)], "bbox")
    assert measured["AP50"] == pytest.approx(expected)


def test_an_object_in_the_area_range_is_matched_before_a_better_one_outside(tmp_path: Path) -> None:
    shorter = {"bbox": [0.0, 0.0, 10.0, 9.3]}
    dataset = one_image(tmp_path, detection(CAR, 0, 1.0) | shorter | {"area": 5000.0})
    measured = evaluate_lvis(dataset, [detection(CAR, 0, 0.5) | shorter], "bbox")
    # The small object's IoU is 0.93; at 0.95 only the medium one is left, and the detection is ignored.
    assert measured["APs"] == pytest.approx(0.9)
    assert measured["APm"] == pytest.approx(1.0)


def test_detections_without_area_are_left_out(tmp_path: Path) -> None:
    empty = detection(CAR, 50, 0.9) | {"bbox": [50.0, 0.0, 0.0, 10.0]}
    assert evaluate_lvis(one_image(tmp_path), [empty, detection(CAR, 0, 0.5)], "bbox")["AP"] == pytest.approx(1.0)


def test_only_the_best_300_detections_of_an_image_count(tmp_path: Path) -> None:
    crowd = [detection(BUS, 50, 0.9) for _ in range(299)]
    dataset = one_image(tmp_path)
    assert evaluate_lvis(dataset, [*crowd, detection(CAR, 0, 0.5)], "bbox")["AP"] == pytest.approx(1.0)
    assert evaluate_lvis(dataset, [*crowd, crowd[0], detection(CAR, 0, 0.5)], "bbox")["AP"] == 0.0


def test_nothing_found_is_zero(tmp_path: Path) -> None:
    assert evaluate_lvis(one_image(tmp_path), [])["AP"] == 0.0


def test_images_that_were_not_predicted_are_not_judged(tmp_path: Path) -> None:
    assert lvis.evaluate_lvis(one_image(tmp_path), {})["AP"] == -1.0


def test_refuses_results_of_other_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lvis.json: does not list 1 images of the results \(image 10 first\)"):
        lvis.evaluate_lvis(one_image(tmp_path), {10: [detection(CAR, 0, 0.5)]})
