"""Matching and interpolation against loops written from COCO's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinemask.evaluation.average_precision import (
    AREA_RANGES,
    BITS,
    IOU_THRESHOLDS,
    Judgement,
    in_range,
    interpolated_precision,
    judge,
    summarize,
)
from tests.support.tolerances import TOLERANCES

EQUAL = TOLERANCES["average precision"].absolute
AREAS = [0.0, 100.0, 1024.0, 1024.5, 9216.0, 20000.0]
IOUS = [0.0, 0.3, 0.5, 0.55, 0.7, 0.7000001, 0.95, 1.0]


@st.composite
def image(draw: st.DrawFn) -> dict[str, list]:
    """Detections and objects of one category, with ties of everything that can tie."""
    num_detections, num_objects = draw(st.integers(0, 6)), draw(st.integers(0, 5))
    return {
        "areas": draw(st.lists(st.sampled_from(AREAS), min_size=num_detections, max_size=num_detections)),
        "object_areas": draw(st.lists(st.sampled_from(AREAS), min_size=num_objects, max_size=num_objects)),
        "crowd": draw(st.lists(st.booleans(), min_size=num_objects, max_size=num_objects)),
        "overlaps": [[draw(st.sampled_from(IOUS)) for _ in range(num_objects)] for _ in range(num_detections)],
    }


def plain_match(image: dict[str, list], low: float, high: float, threshold: float) -> list[str]:
    """What each detection is in one area range and at one threshold: pycocotools' loops, without its sorting."""
    ignored = [
        crowd or not low <= area <= high for crowd, area in zip(image["crowd"], image["object_areas"], strict=True)
    ]
    taken, verdicts = set(), []
    for area, overlaps in zip(image["areas"], image["overlaps"], strict=True):
        best = None
        for kind in (False, True):
            for position, iou in enumerate(overlaps):
                open_to_all = position not in taken or image["crowd"][position]
                if (
                    ignored[position] == kind
                    and open_to_all
                    and iou >= (overlaps[best] if best is not None else threshold)
                ):
                    best = position
            if best is not None:
                break
        if best is not None:
            taken.add(best)
            verdicts.append("ignored" if ignored[best] else "true")
        else:
            verdicts.append("false" if low <= area <= high else "ignored")
    return verdicts


@settings(max_examples=150, deadline=None)
@given(image())
def test_judges_as_plain_loops_do(image: dict[str, list]) -> None:
    overlaps = np.array(image["overlaps"]).reshape(len(image["areas"]), len(image["crowd"]))
    crowd = np.array(image["crowd"], bool)
    ignored = ~in_range(image["object_areas"]) | crowd
    judgement = judge([0.5] * len(image["areas"]), image["areas"], overlaps, ignored, crowd)
    for (area, threshold), bit in np.ndenumerate(BITS):
        low, high = AREA_RANGES[area]
        verdicts = plain_match(image, low, high, IOU_THRESHOLDS[threshold])
        assert [verdict == "true" for verdict in verdicts] == [bool(bits & bit) for bits in judgement.true]
        assert [verdict == "false" for verdict in verdicts] == [bool(bits & bit) for bits in judgement.false]


def test_nothing_is_false_where_objects_may_be_missing() -> None:
    none = np.zeros((2, 0))
    judgement = judge([0.9, 0.1], [50.0, 5000.0], none, np.zeros((4, 0), bool), np.zeros(0, bool), exhaustive=False)
    assert not judgement.false.any()


def always(scores: list[float], true: list[bool]) -> Judgement:
    """Detections that are right, or wrong, in all area ranges and at all thresholds."""
    every = int(BITS.sum())
    bits = np.where(true, every, 0)
    return Judgement(np.array(scores), bits, every - bits)


def test_precision_is_the_best_at_a_recall_or_beyond() -> None:
    # By score: true, false, true of 4 objects. Recalls up to 0.25 have precision 1, up to 0.5 2/3, others 0.
    precision = interpolated_precision([always([0.9, 0.1], [True, True]), always([0.5], [False])], np.full(4, 4))
    expected = [1.0] * 26 + [2 / 3] * 25 + [0.0] * 50
    np.testing.assert_allclose(precision, np.broadcast_to(expected, (4, 10, 101)), atol=EQUAL)


def test_equal_scores_keep_the_order_of_the_images() -> None:
    first, second = always([0.5], [False]), always([0.5], [True])
    one_object = np.full(4, 1)
    assert interpolated_precision([first, second], one_object).max() == pytest.approx(0.5)
    assert interpolated_precision([second, first], one_object).min() == pytest.approx(1.0)


def test_what_cannot_be_found_is_left_out() -> None:
    nothing_found = interpolated_precision([], np.array([3, 0, 3, 0]))
    found = interpolated_precision([always([0.5], [True])], np.array([1, 0, 1, 0]))
    assert summarize(np.stack([nothing_found, found])) == pytest.approx(
        {"AP": 0.5, "AP50": 0.5, "AP75": 0.5, "APs": -1, "APm": 0.5, "APl": -1}
    )
