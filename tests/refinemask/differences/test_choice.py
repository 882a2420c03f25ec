"""The images in which detectors differ most."""

from collections.abc import Callable

import pytest

from refinemask.differences import choice
from refinemask.differences.choice import most_different
from refinemask.structures import Result
from tests.support.column_results import box


def read(*moved: int) -> Callable[[int], list[Result]]:
    """A detector whose object lies so many pixels to the right, by image."""
    return lambda image_id: [box(moved[image_id], 10)]


def test_each_detectors_images_come_in_turn_without_one_twice() -> None:
    chosen = most_different(read(0, 0, 0, 0), [read(0, 1, 2, 3), read(0, 2, 0, 4)], range(4))
    assert chosen == [(3, 0), (2, 0), (1, 1)]


def test_equal_images_are_left_out_and_the_number_is_kept() -> None:
    assert most_different(read(0, 0), [read(0, 0)], range(2)) == []
    assert most_different(read(0, 0, 0), [read(1, 3, 2)], range(3), 2) == [(1, 0), (2, 0)]


def test_of_many_images_some_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MOST_SEARCHED", 4)
    seen: list[int] = []

    def first(image_id: int) -> list[Result]:
        seen.append(image_id)
        return []

    most_different(first, [read(*range(10))], range(10))
    assert seen == [0, 2, 5, 7]
