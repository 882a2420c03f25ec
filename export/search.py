"""The fewest layers that must stay in higher precision, found by few trials. It knows nothing of networks."""

from collections.abc import Callable, Sequence

MOST_RETURNED = 12
"""Largest number of trials that give layers back."""


def fewest_kept(ranking: Sequence[str], holds: Callable[[Sequence[str]], bool]) -> tuple[str, ...] | None:
    """Names out of ``ranking`` that suffice to be kept, none in the best case.

    First the length of the beginning of the ranking that suffices is found: doubled until it does, then halved in. Then
    names of it are given back while that holds, because a loud layer need not be one that matters.

    Args:
        ranking: all names, those that matter most first.
        holds: tells whether the goal is met if these names, in the order of the ranking, are kept.

    Returns:
        The names in the order of the ranking; None if the goal is met by no trial that does not keep all.
    """
    if holds(()):
        return ()
    fails, suffices = 0, len(ranking)
    while suffices - fails > 1:
        middle = min(max(2 * fails, 1), (fails + suffices) // 2)
        if holds(ranking[:middle]):
            suffices = middle
        else:
            fails = middle
    return None if suffices == len(ranking) else _give_back(ranking[:suffices], holds)


def _give_back(kept: Sequence[str], holds: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    """``kept`` without names that are not needed: halves of them, then halves of those halves, the last ones first."""
    # The last one is needed: without it the goal was not met.
    parts, remaining = _halves(kept[:-1]), MOST_RETURNED
    while parts and remaining:
        part, remaining = parts.pop(), remaining - 1
        rest = [name for name in kept if name not in part]
        if holds(rest):
            kept = rest
        else:
            parts += _halves(part)
    return tuple(kept)


def _halves(names: Sequence[str]) -> list[Sequence[str]]:
    """Two halves, the only name there is is no half of itself."""
    middle = len(names) // 2
    return [names[:middle], names[middle:]] if middle else []
