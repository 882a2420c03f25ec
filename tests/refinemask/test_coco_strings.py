"""COCO's strings of run lengths are those of pycocotools, and are read as they were written."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from refinemask.coco_strings import coco_runs, coco_string, fill_image, pycocotools_has_room

RUNS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9)


def runs_of(string: bytes) -> list[int]:
    """The run lengths that a string of COCO's stands for (``rleFrString``)."""
    runs: list[int] = []
    place = 0
    while place < len(string):
        value = shift = 0
        while True:
            byte = string[place] - 48
            value |= (byte & 0x1F) << shift
            place, shift = place + 1, shift + 5
            if not byte & 0x20:
                break
        if byte & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


@given(RUNS)
def test_a_string_stands_for_its_runs(runs: list[int]) -> None:
    assert runs_of(coco_string(runs)) == runs


@given(st.lists(st.integers(0, 2**29 - 1), max_size=30))
def test_a_string_is_read_as_it_was_written(runs: list[int]) -> None:
    assert coco_runs(coco_string(runs)).tolist() == runs


@given(RUNS)
def test_strings_are_those_of_pycocotools_wherever_it_has_room(runs: list[int]) -> None:
    assume(pycocotools_has_room(np.array(runs)))
    assert len(coco_string(runs)) < 6 * len(runs), "with the zero behind, or memory would be overwritten"
    assert coco_string(runs) == coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))["counts"]


@pytest.mark.parametrize("runs", [[0, 2**30, 2**30, 2**30], [2**24] * 5, [2**31 - 1]])
def test_pycocotools_is_not_asked_where_it_might_write_beyond_its_memory(runs: list[int]) -> None:
    assert not pycocotools_has_room(np.array(runs))


def random_runs(random: np.random.Generator, pixels: int) -> NDArray[np.int64]:
    """Run lengths that fill an image, of which the first may be empty."""
    edges = np.sort(random.choice(np.arange(1, pixels), int(random.integers(1, 200)), replace=False))
    runs = np.diff(np.concatenate(([0], edges, [pixels])))
    return np.concatenate(([0], runs)) if random.random() < 0.3 else runs


DAMAGE: dict[str, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    "a pixel more": lambda runs: np.concatenate((runs[:-1], runs[-1:] + 1)),
    "a run less": lambda runs: runs[:-1],
    "an empty run": lambda runs: np.concatenate((runs, [0])),
    "a run below zero": lambda runs: np.concatenate((runs[:-1], runs[-1:] + 5, [-5])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_many_strings_fill_an_image_if_each_does(damage: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
    random, pixels = np.random.default_rng(0), 480 * 640
    runs = [random_runs(random, pixels) for _ in range(60)]
    strings = [coco_string(each.tolist()) for each in runs]
    assert all(np.array_equal(coco_runs(string), each) for string, each in zip(strings, runs, strict=True))
    assert fill_image(strings, pixels)
    for number, each in enumerate(runs):
        damaged = [*strings[:number], coco_string(damage(each).tolist()), *strings[number + 1 :]]
        assert not fill_image(damaged, pixels)


def test_strings_that_fill_an_image_only_together_do_not() -> None:
    first, second = coco_string([100, 200, 300]), coco_string([600])
    assert fill_image([first, second], 600)
    assert not fill_image([first[:-1], first[-1:] + second], 600)
    assert not fill_image([first, b"", second], 600)
