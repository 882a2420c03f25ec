"""Matching, precision and recall against loops written from COCO's rules."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinemask.evaluation.average_precision import precision, recall, summarize, summarize_recall
from refinemask.evaluation.match_tables import Detections, MatchTables, Objects
from refinemask.evaluation.matches import Matches
from refinemask.evaluation.matching import AREA_RANGES, BITS, IOU_THRESHOLDS
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


def matched(
    image: Mapping[str, list], scores: list[float] | None = None, most: int | None = None, certain: bool = True
) -> Matches:
    """The matches of one image of one category."""
    count = len(image["areas"])
    overlaps = np.array(image["overlaps"]).reshape(count, len(image["crowd"]))
    found = Detections(
        category=np.zeros(count, int),
        score=np.array(scores or [0.5] * count),
        area=np.array(image["areas"]),
        certain=np.full(count, certain),
    )
    present = Objects(
        category=np.zeros(len(image["crowd"]), int),
        area=np.array(image["object_areas"]),
        crowd=np.array(image["crowd"], bool),
    )
    tables = MatchTables((7,), ("segm",))
    tables.add(3, found, present, lambda d, g: {"segm": overlaps[np.ix_(d, g)]}, most)
    return tables.matches()["segm"]


@settings(max_examples=150, deadline=None)
@given(image())
def test_judges_as_plain_loops_do(image: dict[str, list]) -> None:
    matches = matched(image)
    for (area, threshold), bit in np.ndenumerate(BITS):
        low, high = AREA_RANGES[area]
        verdicts = plain_match(image, low, high, IOU_THRESHOLDS[threshold])
        assert [verdict == "true" for verdict in verdicts] == [bool(bits & bit) for bits in matches.true]
        assert [verdict == "false" for verdict in verdicts] == [bool(bits & bit) for bits in matches.false]
    assert matches.rank.tolist() == list(range(len(image["areas"])))
    counting = [
        sum(low <= a <= high and not c for a, c in zip(image["object_areas"], image["crowd"], strict=True))
        for low, high in AREA_RANGES
    ]
    assert matches.objects.sum(0).tolist() == counting


def test_nothing_is_false_where_objects_may_be_missing() -> None:
    image: dict[str, list] = {"areas": [50.0, 5000.0], "object_areas": [], "crowd": [], "overlaps": []}
    assert not matched(image, certain=False).false.any()
    assert matched(image).false.all()


def test_only_the_best_count_of_each_category() -> None:
    image: dict[str, list] = {
        "areas": [1.0, 2.0, 3.0],
        "object_areas": [9.0],
        "crowd": [False],
        "overlaps": [[0.9], [0.8], [0.7]],
    }
    matches = matched(image, scores=[0.1, 0.9, 0.5], most=2)
    assert (matches.score.tolist(), matches.rank.tolist()) == ([0.9, 0.5], [0, 1])
    assert (matches.true > 0).tolist() == [True, False]


def always(
    images: list[tuple[list[float], list[bool]]], objects: tuple[int, int, int, int], category: int = 0, of: int = 1
) -> Matches:
    """Detections that are right, or wrong, in all area ranges and at all thresholds: scores and verdicts by image."""
    every = int(BITS.sum())
    true = np.array([every if right else 0 for _, verdicts in images for right in verdicts], np.int64)
    counts = [len(scores) for scores, _ in images]
    return Matches(
        image_ids=tuple(range(len(images))),
        category_ids=tuple(range(of)),
        image=np.repeat(np.arange(len(images), dtype=np.int32), counts),
        category=np.full(len(true), category, np.int32),
        score=np.array([score for scores, _ in images for score in scores], np.float64),
        rank=np.array([rank for count in counts for rank in range(count)], np.int32),
        true=true,
        false=every - true,
        object_image=np.zeros(of, np.int32),
        object_category=np.arange(of, dtype=np.int32),
        objects=np.tile(np.array(objects, np.int32), (of, 1)),
    )


def test_precision_is_the_best_at_a_recall_or_beyond() -> None:
    # By score: true, false, true of 4 objects. Recalls up to 0.25 have precision 1, up to 0.5 2/3, others 0.
    found = precision(always([([0.9, 0.1], [True, True]), ([0.5], [False])], (4, 4, 4, 4)))
    expected = [1.0] * 26 + [2 / 3] * 25 + [0.0] * 50
    np.testing.assert_allclose(found, np.broadcast_to(expected, (1, 4, 10, 101)), atol=EQUAL)


def test_equal_scores_keep_the_order_of_the_images() -> None:
    first, second = ([0.5], [False]), ([0.5], [True])
    assert precision(always([first, second], (1, 1, 1, 1))).max() == pytest.approx(0.5)
    assert precision(always([second, first], (1, 1, 1, 1))).min() == pytest.approx(1.0)


def test_what_cannot_be_found_is_left_out() -> None:
    matches = always([([0.5], [True])], (1, 0, 1, 0), category=1, of=2)
    assert summarize(precision(matches)) == pytest.approx(
        {"AP": 0.5, "AP50": 0.5, "AP75": 0.5, "APs": -1, "APm": 0.5, "APl": -1}
    )
    assert summarize_recall(matches) == pytest.approx(
        {"AR1": 0.5, "AR10": 0.5, "AR": 0.5, "ARs": -1, "ARm": 0.5, "ARl": -1}
    )


def test_recall_is_of_the_best_detections_of_each_image() -> None:
    matches = always([([0.9, 0.8], [False, True]), ([0.7, 0.6], [True, True])], (4, 4, 4, 4))
    assert recall(matches, 1).tolist() == np.full((1, 4, 10), 1 / 4).tolist()
    assert recall(matches).tolist() == np.full((1, 4, 10), 3 / 4).tolist()


def test_no_image_is_nothing_to_find() -> None:
    matches = MatchTables((1, 2), ("segm",)).matches()["segm"]
    assert matches.objects.shape == (0, 4)
    assert set(summarize(precision(matches)).values()) == set(summarize_recall(matches).values()) == {-1.0}
