"""COCO's compressed strings of run lengths, written and read. Imports no PyTorch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONG_RUN = 1 << 24
"""Pixels of a run from which on ``pycocotools`` may write more of it than it has room for."""


def pycocotools_has_room(runs: NDArray[np.intp]) -> bool:
    """Whether ``pycocotools`` makes the string of run lengths within the six bytes a run that it allocates.

    It writes up to seven bytes for a run or difference of 2^24 or more and five for others, and a zero behind. For a
    few long runs it would write beyond.
    """
    # A long run makes up to two differences long.
    return len(runs) > 4 * int(np.count_nonzero(np.asarray(runs) >= LONG_RUN))


def coco_string(runs: Sequence[int]) -> bytes:
    """COCO's compressed string of run lengths: from the fourth on each is a difference to the one before the last, in
    groups of five bits, the lowest first."""
    encoded = bytearray()
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        while True:
            group, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if group & 0x10 else 0)
            encoded.append(48 + (group | 0x20 if more else group))
            if not more:
                break
    return bytes(encoded)


def coco_runs(string: bytes) -> NDArray[np.int64]:
    """The run lengths that a string of COCO's stands for: the inverse of :func:`coco_string`.

    Raises:
        ValueError: it is no such string, or has a number beyond 30 bits.
    """
    runs, _ = _numbers(string)
    # From the fourth on, each is a difference to the one before the last.
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs


def fill_image(strings: Sequence[bytes], pixels: int) -> bool:
    """Whether all are strings of COCO's of masks of so many pixels, without an empty run but for the first."""
    try:
        runs, begins = _all_runs(strings)
    except ValueError:
        return False
    is_first = np.zeros(len(runs), bool)
    is_first[begins] = True
    return bool((np.add.reduceat(runs, begins) == pixels).all() and (runs + is_first > 0).all())


def run_ends(strings: Sequence[bytes]) -> list[NDArray[np.int64]]:
    """Where each run of some masks ends, counted in the pixels of its image: the sums of :func:`coco_runs`.

    Raises:
        ValueError: one is no such string.
    """
    runs, begins = _all_runs(strings)
    ends = runs.cumsum()
    # Each mask counts from its own first pixel.
    before = np.concatenate(([0], ends[begins[1:] - 1]))
    bounds = [*begins.tolist(), len(runs)]
    return [ends[begin:end] - start for begin, end, start in zip(bounds, bounds[1:], before.tolist(), strict=False)]


def _all_runs(strings: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The run lengths of all strings, and where each begins; one call takes a quarter of the time of one for each.

    Raises:
        ValueError: one is no string of COCO's.
    """
    if not all(strings):
        raise ValueError("a mask without a run")
    numbers, ends = _numbers(b"".join(strings))
    # Where each string ends, a number must end.
    last = np.cumsum([len(string) for string in strings]) - 1
    place = np.searchsorted(ends, last)
    if not np.array_equal(ends[place], last):
        raise ValueError("an end in the middle of a run length")
    counts = np.diff(place + 1, prepend=0)
    return _sums_of_differences(numbers, counts), np.cumsum(counts) - counts


def _numbers(string: bytes) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The numbers in strings of COCO's, and where the last character of each is.

    Raises:
        ValueError: it is no such string, or has a number beyond 30 bits.
    """
    # Characters below those of COCO's become large, too.
    groups = np.frombuffer(string, np.uint8) - np.uint8(48)
    last = np.flatnonzero(groups < 0x20)
    if not len(groups):
        return np.zeros(0, np.int64), last
    if groups.max() > 0x3F:
        raise ValueError("a character that is none of COCO's compressed run lengths")
    if not len(last) or last[-1] < len(groups) - 1:
        raise ValueError("an end in the middle of a run length")
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > 6:
        raise ValueError("a run length of more than 30 bits")
    groups_of_five = groups & np.uint8(0x1F)
    numbers = groups_of_five[first].astype(np.int64)
    for place in range(1, lengths.max()):
        longer = np.flatnonzero(lengths > place)
        numbers[longer] += groups_of_five[first[longer] + place].astype(np.int64) << 5 * place
    negative = groups[last] & 0x10 > 0
    numbers[negative] -= 1 << 5 * lengths[negative]
    return numbers, last


def _sums_of_differences(numbers: NDArray[np.int64], counts: NDArray[np.intp]) -> NDArray[np.int64]:
    """Run lengths of several masks, of which each from the fourth on is given as the difference to the one before the
    last: the second, fourth … are sums, and so are the third, fifth …"""
    pairs = (counts + 1) // 2
    begins = np.cumsum(pairs) - pairs
    # Every mask begins in a new row of two.
    place = np.arange(len(numbers)) + np.repeat(2 * begins - (np.cumsum(counts) - counts), counts)
    rows = np.zeros((pairs.sum(), 2), np.int64)
    rows.ravel()[place] = numbers
    firsts = rows[begins, 0]
    rows[begins, 0] = 0
    sums = rows.cumsum(axis=0)
    sums -= np.repeat(sums[begins] - rows[begins], pairs, axis=0)
    sums[begins, 0] = firsts
    return sums.ravel()[place]
