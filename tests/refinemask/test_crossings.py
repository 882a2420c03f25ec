"""Only the cells of masks that may cross one half are resampled; the runs are those of resampling every column."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from refinemask import crossings, masks
from refinemask.masks import paste_runs


def runs_of_every_column(mask: NDArray[np.float32], box: NDArray[np.float32], height: int, width: int) -> list[int]:
    """The run lengths of one mask: each column resampled whole, one number rounded like the other."""
    rows, columns = mask.shape
    by_column = np.zeros((columns + 3, rows + 2), np.float32)
    by_column[1:-2, 1:-1] = mask.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left, xs = sample_positions(box[0], box[2], width, columns)
        top, ys = sample_positions(box[1], box[3], height, rows)
        xs = xs.clip(-1, columns)
        knot = np.floor(xs)
        index = knot.astype(np.intp) + 1
        profile = (by_column[1:] - by_column[:-1])[index]
        profile *= (xs - knot)[:, None]
        profile += by_column[index]
        values = profile.ravel()
        foreground = values >= 0.5
        places = np.flatnonzero(foreground[1:] != foreground[:-1])
        column, row = np.divmod(places, rows + 2)
        before = values[places].astype(np.float64)
        position = row - 1 + (0.5 - before) / (values[places + 1] - before)
    position[1::2] = np.nextafter(position[1::2], np.inf)
    edges = (left + column) * height + (top + np.searchsorted(ys, position))
    # Edges that coincide cancel in pairs.
    edges, times = np.unique(edges[edges < height * width], return_counts=True)
    return np.diff(edges[times % 2 == 1], prepend=0, append=height * width).tolist()


def sample_positions(low: np.float32, high: np.float32, size: int, samples: int) -> tuple[int, NDArray[np.float32]]:
    first = min(max(math.floor(low) - 1, 0), size)
    end = max(first, min(math.ceil(high) + 1, size)) if low <= high else first
    centres = np.arange(first, end, dtype=np.float32) + np.float32(0.5)
    relative = (centres - low) / (high - low) * 2 - 1
    if high - low < 1 and not np.isfinite(relative).all():
        relative[:] = 0
    return first, ((relative + 1) * samples - 1) / 2


ODDS = np.array([0, 0.25, 0.49999997, 0.5, 0.50000006, 0.75, 1], np.float32)
"""Values that cross one half by one unit in the last place, or touch it."""
MASKS = {
    "smooth": lambda random, shape: 1 / (1 + np.exp(-random.normal(0, 1, shape).cumsum(-1))),
    "steep": lambda random, shape: (random.random(shape) < 0.5) * 1.0,
    "near one half": lambda random, shape: random.normal(0.5, 1e-7, shape),
    "odd": lambda random, shape: random.choice(ODDS, shape),
    "no probabilities": lambda random, shape: random.normal(0, 10.0 ** random.uniform(-3, 36), shape),
}
BOXES = {
    "anywhere": lambda random, shape: random.uniform(-40, 90, shape),
    "whole pixels": lambda random, shape: random.integers(-9, 70, shape),
    "huge": lambda random, shape: random.normal(0, 1, shape) * 10.0 ** random.uniform(2, 37, shape),
    "without extent": lambda random, shape: random.choice([3, 3 + 1e-6, 3.5, 9], shape),
    "around the image": lambda random, shape: random.uniform(1, 20, shape) * [-1, -1, 5, 5],
}


def drawn(seed: int, mask: str, box: str, count: int, size: tuple[int, int]) -> tuple[NDArray[np.float32], ...]:
    """Masks and boxes of a kind; one box in ten has changed its sides."""
    random = np.random.default_rng(seed)
    boxes = BOXES[box](random, (count, 4)).astype(np.float32)
    if random.random() < 0.9:
        boxes = np.sort(boxes.reshape(count, 2, 2), axis=1).reshape(count, 4)
    return MASKS[mask](random, (count, *size)).astype(np.float32), boxes


@settings(deadline=None, max_examples=400)
@given(
    seed=st.integers(0, 2**32 - 1),
    mask=st.sampled_from(list(MASKS)),
    box=st.sampled_from(list(BOXES)),
    count=st.integers(0, 5),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_runs_are_those_of_every_column(
    seed: int, mask: str, box: str, count: int, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    probabilities, boxes = drawn(seed, mask, box, count, size)
    expected = [runs_of_every_column(*each, *shape) for each in zip(probabilities, boxes, strict=True)]
    assert [runs.tolist() for runs in paste_runs(probabilities, boxes, *shape)] == expected


SAMPLE = st.one_of(st.sampled_from(ODDS.tolist()), st.floats(0, 1, width=32), st.floats(width=32, allow_nan=False))


@settings(max_examples=500)
@given(
    left=SAMPLE.filter(math.isfinite),
    right=SAMPLE.filter(math.isfinite),
    share=st.one_of(st.floats(0, 1, width=32, exclude_max=True), st.just(1 - 2.0**-24)),
)
def test_a_rounded_sample_between_neighbours_of_one_side_stays_on_it(left: float, right: float, share: float) -> None:
    samples = np.array([left, right], np.float32)
    samples = np.where((samples >= 0.5) == (left >= 0.5), samples, samples[0])
    value = samples[1:] - samples[:1]
    value *= np.float32(share)
    value += samples[:1]
    assert (value >= 0.5) == (left >= 0.5)


@pytest.mark.parametrize("samples", [1, 1000])
@pytest.mark.parametrize("at_once", [1, 50])
@pytest.mark.parametrize("mask", list(MASKS))
def test_a_few_at_once_give_the_runs_of_all(
    mask: str, at_once: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities, boxes = drawn(1, mask, "anywhere", 9, (14, 20))
    whole = [runs.tolist() for runs in paste_runs(probabilities, boxes, 60, 80)]
    monkeypatch.setattr(masks, "SAMPLES_AT_ONCE", samples)
    monkeypatch.setattr(crossings, "CROSSINGS_AT_ONCE", at_once)
    assert [runs.tolist() for runs in paste_runs(probabilities, boxes, 60, 80)] == whole
    assert sum(map(len, whole)) > len(whole)
