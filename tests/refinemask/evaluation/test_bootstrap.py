"""AP of resamples against pycocotools on the resampled data, and intervals against what they are to cover."""

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import coco, cocoeval

from refinemask.data.coco import parse_coco, read_coco
from refinemask.data.lvis import LvisDataset, read_lvis
from refinemask.evaluation import bootstrap, lvis
from refinemask.evaluation.average_precision import RECALL_THRESHOLDS, precision, summarize
from refinemask.evaluation.bootstrap import ALL_AREAS, interval, resample, resampled_ap
from refinemask.evaluation.coco import IOU_TYPES, evaluate_coco, match_coco
from refinemask.evaluation.lvis import evaluate_lvis, match_lvis
from refinemask.evaluation.matches import Matches
from tests.support.coco_results import group_by_image
from tests.support.lvis_cases import synthetic_case
from tests.support.random_boxes import random_boxes
from tests.support.random_matches import random_matches
from tests.support.random_sets import random_set
from tests.support.resampled_sets import resampled_set
from tests.support.tolerances import TOLERANCES

EQUAL = TOLERANCES["average precision"].absolute
LIMITS = 100, 300
"""Detections that count in sets with an even and with an odd seed."""
Kind = TypeVar("Kind", bound=str)


def drawn(content: dict[str, Any], results: list[dict[str, Any]], draws: NDArray[np.uint16]) -> float:
    """AP by pycocotools, where an image that was drawn twice is two images side by side; NaN without objects."""
    images = [image["id"] for image, count in zip(content["images"], draws, strict=True) for _ in range(count)]
    truth = coco.COCO()
    truth.dataset, copies = resampled_set(content, results, images)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(copies) if copies else coco.COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    found = evaluation.eval["precision"][:, :, :, 0, -1]
    return float(found[found > -1].mean()) if (found > -1).any() else float("nan")


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_on_the_resampled_images(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several blocks, of which the last is shorter.
    monkeypatch.setattr(bootstrap, "BLOCK", 200)
    path, content, results = random_boxes(tmp_path, seed)
    dataset = read_coco(path)
    matches = match_coco(dataset, group_by_image(dataset, results), ("bbox",), 100)["bbox"]
    draws = resample(len(dataset.images), 12, seed)
    expected = [drawn(content, results, row) for row in draws]
    np.testing.assert_allclose(resampled_ap(matches, draws), expected, rtol=0, atol=EQUAL)
    assert np.ptp(expected) > 0.02


def assert_equals_the_drawn_images(
    matches: Mapping[Kind, Matches], seed: int, evaluate: Callable[[list[int]], Mapping[Kind, float]]
) -> None:
    """Compare AP of resamples with the AP by kind of overlap that an evaluation of the drawn images has."""
    ids = next(iter(matches.values())).image_ids
    draws = resample(len(ids), 4, seed)
    found = {kind: resampled_ap(each, draws) for kind, each in matches.items()}
    for number, row in enumerate(draws):
        for kind, expected in evaluate(np.repeat(ids, row).tolist()).items():
            value = -1.0 if np.isnan(found[kind][number]) else found[kind][number]
            assert value == pytest.approx(expected, abs=EQUAL), f"seed {seed}, {kind}"


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 208), marks=pytest.mark.slow)])
def test_equals_the_evaluation_of_the_drawn_images(seeds: range) -> None:
    for seed in seeds:
        content, results = random_set(seed)
        dataset, most = parse_coco(Path("random.json"), content), LIMITS[seed % 2]

        def evaluate(images: list[int], content: Any = content, results: Any = results, most: int = most) -> Any:
            drawn_content, drawn_results = resampled_set(content, results, images)
            again = parse_coco(Path("drawn.json"), drawn_content)
            figures = evaluate_coco(again, group_by_image(again, drawn_results), IOU_TYPES, most)
            return {kind: each["AP"] for kind, each in figures.items()}

        matches = match_coco(dataset, group_by_image(dataset, results), IOU_TYPES, most)
        assert_equals_the_drawn_images(matches, seed, evaluate)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_evaluation_of_the_drawn_images_of_lvis(seed: int, tmp_path: Path) -> None:
    content, results = synthetic_case(seed)
    for result in results:
        # Many ties within an image.
        result["score"] = round(result["score"], 1)

    def read(content: dict[str, Any]) -> LvisDataset:
        (tmp_path / "lvis.json").write_text(json.dumps(content))
        return read_lvis(tmp_path / "lvis.json")

    def evaluate(images: list[int]) -> dict[lvis.IoUType, float]:
        drawn_content, drawn_results = resampled_set(content, results, images)
        again = read(drawn_content)
        return {"segm": evaluate_lvis(again, group_by_image(again, drawn_results))["AP"]}

    dataset = read(content)
    matches: dict[lvis.IoUType, Matches] = {"segm": match_lvis(dataset, group_by_image(dataset, results))}
    assert_equals_the_drawn_images(matches, seed, evaluate)


def test_a_false_detection_of_the_same_score_stands_between_two_copies() -> None:
    one, column = np.ones(1, np.int32), np.zeros(2, np.int32)
    matches = Matches(
        image_ids=(1,),
        category_ids=(1,),
        image=column,
        category=column,
        score=np.array([0.5, 0.5]),
        rank=np.array([0, 1], np.int32),
        true=np.array([ALL_AREAS, 0]),
        false=np.array([0, ALL_AREAS]),
        object_image=0 * one,
        object_category=0 * one,
        objects=np.ones((1, 4), np.int32),
    )
    # True, false, true, false: precision is 1 up to recall 1/2, and 2/3 behind it.
    expected = (51 + 50 * 2 / 3) / 101
    assert resampled_ap(matches, np.array([[2]], np.uint16)) == pytest.approx([expected], abs=EQUAL)


def test_recalls_are_multiples_of_the_first() -> None:
    assert (np.arange(101) * RECALL_THRESHOLDS[1] == RECALL_THRESHOLDS).all()


@pytest.mark.parametrize("digits", [1, 17])
def test_each_image_once_is_the_data_set(digits: int) -> None:
    rng = np.random.default_rng(digits)
    for _ in range(5):
        matches, _ = random_matches(rng, images=40, categories=3, digits=digits)
        ones = np.ones((1, 40), np.uint16)
        assert resampled_ap(matches, ones)[0] == pytest.approx(summarize(precision(matches))["AP"], abs=EQUAL)


def test_a_resample_without_objects_has_no_ap() -> None:
    matches, _ = random_matches(np.random.default_rng(0), images=3, categories=1, objects=0)
    assert resampled_ap(matches, resample(3, 0)).shape == (0,)
    assert np.isnan(resampled_ap(matches, resample(3, 4))).all()
    assert interval(np.full(4, np.nan)) is None


def test_resamples_draw_as_many_images_and_depend_on_the_seed_alone() -> None:
    draws = resample(50, 200, seed=3)
    assert (draws.sum(1) == 50).all()
    assert (draws == resample(50, 200, seed=3)).all()
    assert (draws != resample(50, 200, seed=4)).any()
    # Each image is drawn once on average, with the variance of a binomial: 49/50.
    assert draws.mean(0) == pytest.approx(1, abs=0.4)
    assert draws.var() == pytest.approx(0.98, abs=0.05)


def change(pair: tuple[Matches, Matches], draws: NDArray[np.uint16]) -> NDArray[np.float64]:
    """How much higher the second detector's AP is, in each resample."""
    first, second = (resampled_ap(matches, draws) for matches in pair)
    return second - first


def coverage(images: int, categories: int, trials: int) -> tuple[float, float]:
    """Share of the pairs of detectors whose intervals hold the true AP of the first, and the true difference."""
    rng = np.random.default_rng(categories)
    many, covered = 8_000, np.zeros(2)
    ones = np.ones((1, many), np.uint16)
    pair = random_matches(rng, many, categories)
    true = resampled_ap(pair[0], ones)[0], change(pair, ones)[0]
    assert -0.06 < true[1] < -0.04
    for trial in range(trials):
        pair, draws = random_matches(rng, images, categories), resample(images, 300, trial)
        for number, samples in enumerate((resampled_ap(pair[0], draws), change(pair, draws))):
            ends = interval(samples)
            covered[number] += ends is not None and ends[0] <= true[number] <= ends[1]
    ap, difference = (covered / trials).tolist()
    return ap, difference


@pytest.mark.parametrize("categories", [1, 6])
def test_the_interval_of_a_change_covers_the_true_one(categories: int) -> None:
    _, difference = coverage(60, categories, trials=25)
    assert difference >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "categories", "ap", "difference"),
    [(46, 10, 0.915, 0.925), (60, 1, 0.925, 0.93), (60, 6, 0.945, 0.925), (200, 5, 0.94, 0.94)],
)
def test_the_intervals_cover_as_the_documentation_says(
    images: int, categories: int, ap: float, difference: float
) -> None:
    """The figures of docs/evaluate.md; streams of random numbers may change with NumPy."""
    assert coverage(images, categories, trials=200) == pytest.approx((ap, difference), abs=0.03)


def test_a_detector_that_finds_nothing_has_no_ap_in_any_resample() -> None:
    matches, _ = random_matches(np.random.default_rng(7), 20, 2)
    columns = ("image", "category", "score", "rank", "true", "false")
    nothing = replace(matches, **{name: getattr(matches, name)[:0] for name in columns})
    assert (resampled_ap(nothing, resample(20, 30)) == 0).all()


def test_a_single_image_has_an_interval_without_width() -> None:
    matches, _ = random_matches(np.random.default_rng(8), 1, 1)
    low, high = interval(resampled_ap(matches, resample(1, 30))) or (0, 0)
    assert low == high == pytest.approx(summarize(precision(matches))["AP"], abs=EQUAL)
    assert low > 0


def test_a_category_of_one_image_counts_in_the_resamples_that_have_it() -> None:
    matches, _ = random_matches(np.random.default_rng(9), 40, 1)
    rare = replace(
        matches,
        category_ids=(0, 1),
        object_image=np.append(matches.object_image, 0).astype(np.int32),
        object_category=np.append(matches.object_category, 1).astype(np.int32),
        objects=np.append(matches.objects, [[1, 1, 1, 1]], 0).astype(np.int32),
    )
    draws = resample(40, 50)
    # Nobody finds it: it halves AP where it is.
    share = np.where(draws[:, 0] > 0, 0.5, 1)
    assert 0.5 < share.mean() < 0.9
    np.testing.assert_allclose(resampled_ap(rare, draws), share * resampled_ap(matches, draws), rtol=0, atol=EQUAL)


def test_equal_detectors_do_not_differ_at_all() -> None:
    matches, _ = random_matches(np.random.default_rng(5), 30, 3)
    assert interval(change((matches, matches), resample(30, 100))) == (0, 0)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    matches, _ = random_matches(np.random.default_rng(6), 100, 20)
    draws = resample(100, 50)
    together = resampled_ap(matches, draws)
    monkeypatch.setattr(bootstrap, "THREADS", 1)
    assert (resampled_ap(matches, draws) == together).all()


def test_the_interval_leaves_two_and_a_half_percent_on_each_side() -> None:
    samples = np.random.default_rng(0).permutation(np.append(np.arange(1001.0), np.nan))
    assert interval(samples) == pytest.approx((25.0, 975.0))
