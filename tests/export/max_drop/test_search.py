"""The search for the fewest names to keep, against goals that are known."""

from collections.abc import Callable, Sequence

import pytest

from export.max_drop.search import MOST_RETURNED, fewest_kept

RANKING = [f"layer{index}" for index in range(40)]


def counted(needed: set[str]) -> tuple[Callable[[Sequence[str]], bool], list[tuple[str, ...]]]:
    """A goal that is met if all of ``needed`` are kept, and what was tried."""
    tried: list[tuple[str, ...]] = []

    def holds(kept: Sequence[str]) -> bool:
        assert list(kept) == sorted(kept, key=RANKING.index)
        tried.append(tuple(kept))
        return needed <= set(kept)

    return holds, tried


@pytest.mark.parametrize("needed", [[], [0], [1], [2], [0, 1], [0, 1, 2], [3], [0, 4], [2, 6]])
def test_names_that_are_needed_and_no_others_are_kept(needed: list[int]) -> None:
    holds, tried = counted({RANKING[index] for index in needed})
    assert fewest_kept(RANKING, holds) == tuple(RANKING[index] for index in needed)
    assert len(tried) == len(set(tried)) <= 16


@pytest.mark.parametrize("last", range(39))
def test_what_is_kept_always_holds_and_takes_few_trials(last: int) -> None:
    holds, tried = counted({RANKING[index] for index in (last // 3, last // 2, last)})
    kept = fewest_kept(RANKING, holds)
    assert kept is not None
    assert holds(kept)
    assert set(kept) <= set(RANKING[: last + 1])
    # The doubling and the halving take twice the logarithm of 40, at most.
    assert len(tried) <= 1 + 2 * 6 + MOST_RETURNED + 1


def test_a_goal_that_only_all_names_meet() -> None:
    holds, tried = counted(set(RANKING))
    assert fewest_kept(RANKING, holds) is None
    assert tuple(RANKING[:-1]) in tried
    assert tuple(RANKING) not in tried
    assert fewest_kept(["only"], lambda kept: bool(kept)) is None


def test_without_names_nothing_is_kept() -> None:
    assert fewest_kept([], lambda kept: True) == ()
    assert fewest_kept([], lambda kept: False) is None
