"""Intervals, classes and curves of several engines' accuracy."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness.accuracy_detail import accuracy_details
from refinemask.evaluation.average_precision import precision, summarize
from refinemask.evaluation.coco import IoUType
from refinemask.evaluation.matches import Matches
from tests.support.random_matches import random_matches

NAMES = {0: "car", 1: "cat", 2: "dog"}


def test_changes_are_of_the_same_resamples() -> None:
    pair = random_matches(np.random.default_rng(0), 200, 2)
    first, second = accuracy_details([{"segm": matches} for matches in pair], NAMES, 300)
    values = [summarize(precision(matches))["AP"] for matches in pair]
    assert [detail.ap["segm"].value for detail in (first, second)] == values
    change = second.change["segm"]
    assert change.value == values[1] - values[0]
    assert change.low < change.value < change.high < 0
    # Drawn separately, the two would differ by more.
    widths = [detail.ap["segm"].high - detail.ap["segm"].low for detail in (first, second)]
    assert change.high - change.low < np.hypot(widths[0], widths[1])
    assert first.change == {}
    assert accuracy_details([{"segm": matches} for matches in pair], NAMES, 300)[1] == second


def test_results_of_boxes_alone_have_no_change_of_masks() -> None:
    matches, _ = random_matches(np.random.default_rng(4), 20, 1)
    engines: list[dict[IoUType, Matches]] = [{"bbox": matches, "segm": matches}, {"bbox": matches}]
    assert list(accuracy_details(engines, NAMES, 10)[1].change) == ["bbox"]


def test_classes_and_curves() -> None:
    matches, _ = random_matches(np.random.default_rng(1), 50, 2)
    # A third class that has neither objects nor detections.
    [detail] = accuracy_details([{"segm": replace(matches, category_ids=(0, 1, 2))}], NAMES, 0)
    classes, curves = detail.per_class["segm"], detail.precision_recall["segm"]
    ap = summarize(precision(matches))
    assert classes["dog"] == -1
    assert np.mean([classes["car"], classes["cat"]]) == pytest.approx(ap["AP"], abs=1e-12)
    for name in ("AP", "AP50", "AP75"):
        assert np.mean(curves[name]) == pytest.approx(ap[name], abs=1e-6)
        assert len(curves[name]) == 101
    assert detail.ap == {}


def test_without_objects_there_is_neither_interval_nor_curve() -> None:
    matches, _ = random_matches(np.random.default_rng(2), 5, 1, objects=0)
    first, second = accuracy_details([{"segm": matches}, {"segm": matches}], NAMES, 20)
    assert first.ap == second.change == {}
    assert first.precision_recall == {"segm": {}}


def test_other_images_are_refused() -> None:
    rng = np.random.default_rng(3)
    engines: list[dict[IoUType, Matches]] = [{"segm": random_matches(rng, count, 1)[0]} for count in (4, 5)]
    with pytest.raises(ValueError, match="the same images"):
        accuracy_details(engines, NAMES, 10)
