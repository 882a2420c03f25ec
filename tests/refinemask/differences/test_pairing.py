"""Which objects two detectors both have."""

import pytest

from refinemask.differences.pairing import pair
from tests.support.column_results import box


def test_equal_masks_agree_wholly() -> None:
    results = [box(0, 10), box(30, 10), box(0, 10, category=2)]
    found = pair(results, results[::-1])
    assert found.pairs == ((0, 2, 1.0), (1, 1, 1.0), (2, 0, 1.0))
    assert (found.quality, found.disagreement) == (1, 0)


def test_quality_is_the_panoptic_one() -> None:
    found = pair([box(0, 10), box(30, 10), box(60, 10)], [box(2, 10), box(30, 10)])
    assert found.pairs == ((0, 0, 8 / 12), (1, 1, 1.0))
    assert (found.only_first, found.only_second) == ((2,), ())
    assert found.quality == (8 / 12 + 1) / (2 + 1 / 2)


def test_the_largest_overlap_is_matched_first_and_each_object_once() -> None:
    found = pair([box(0, 10), box(2, 10)], [box(2, 11), box(40, 10)])
    assert [each[:2] for each in found.pairs] == [(1, 0)]
    assert (found.only_first, found.only_second) == ((0,), (1,))


def test_classes_and_half_overlaps_are_kept_apart() -> None:
    found = pair([box(0, 10), box(30, 9)], [box(0, 10, category=2), box(33, 9)])
    assert found.pairs == ()
    assert (found.only_first, found.only_second) == ((0, 1), (0, 1))


@pytest.mark.parametrize(("score", "matched"), [(0.49, True), (0.26, True), (0.24, False)])
def test_a_partner_may_have_half_of_the_score(score: float, matched: bool) -> None:
    for other in (box(0, 10, score), box(1, 10, score)):
        found = pair([box(0, 10, 0.51)], [other])
        assert bool(found.pairs) == matched
        assert (found.only_first, found.only_second) == (() if matched else (0,), ())


def test_what_neither_is_sure_of_does_not_count() -> None:
    found = pair([box(0, 10, 0.3), box(30, 10, 0.4)], [box(0, 10, 0.4), box(60, 10, 0.4)])
    assert (found.objects, found.quality, found.disagreement) == (0, 1, 0)


def test_annotations_are_sure() -> None:
    found = pair([box(0, 10, None)], [box(0, 10, 0.3)])
    assert found.pairs == ((0, 0, 1.0),)


def test_images_of_one_object_do_not_lead() -> None:
    one, many = pair([box(0, 10)], []), pair([box(left, 8) for left in range(0, 100, 10)], [])
    assert one.quality == many.quality == 0
    assert one.disagreement < many.disagreement < 1
