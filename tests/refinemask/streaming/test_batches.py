"""Which images go together, and when incomplete batches go."""

from typing import Any

import numpy as np
import pytest

from refinemask.streaming.batches import Batches
from refinemask.streaming.work import Canvas, Part, Work
from tests.support.stream_items import MadeItem

SMALL, LARGE = Canvas((32, 32), fixed=False), Canvas((64, 64), fixed=True)


def parts(index: int, *canvases: Canvas, size: int = 1) -> list[Part[None]]:
    work: Work[None] = Work(index, MadeItem(1))
    work.bytes = size
    return [Part(work, place, np.zeros((1, 1, 3), np.uint8), canvas) for place, canvas in enumerate(canvases)]


def indices(batches: Any) -> list[list[int]]:
    return [[part.work.index for part in batch] for batch in batches]


def test_full_batches_go_at_once_and_the_rest_at_the_end() -> None:
    batches: Batches[None] = Batches(2, patience=10, most_bytes=100)
    assert indices(batches.add(0, parts(0, SMALL))) == []
    assert indices(batches.add(1, parts(1, LARGE))) == []
    assert indices(batches.add(2, parts(2, SMALL, SMALL, SMALL))) == [[0, 2], [2, 2]]
    assert indices(batches.rest()) == [[1]]
    assert indices(batches.rest()) == []


@pytest.mark.parametrize("failed", [False, True])
def test_an_incomplete_batch_goes_after_some_later_images(failed: bool) -> None:
    batches: Batches[None] = Batches(2, patience=3, most_bytes=100)
    assert indices(batches.add(0, parts(0, SMALL))) == []
    for index in (1, 2):
        assert indices(batches.add(index, [])) == []
    assert indices(batches.add(3, [] if failed else parts(3, LARGE))) == [[0]]
    assert indices(batches.rest()) == ([] if failed else [[3]])


def test_the_oldest_go_when_the_images_are_too_large_together() -> None:
    batches: Batches[None] = Batches(3, patience=99, most_bytes=100)
    assert indices(batches.add(0, parts(0, SMALL, SMALL, size=60))) == []
    assert indices(batches.add(1, parts(1, LARGE, size=40))) == []
    assert indices(batches.add(2, parts(2, LARGE, size=41))) == [[0, 0]]
    assert indices(batches.add(3, parts(3, SMALL, size=101))) == [[1, 2], [3]]
