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
    """``kept`` without names that are not needed: tried are all but one, then halves of those, the last ones first."""
    # The last one is needed: without it the goal was not met.
    parts, tried = [kept[:-1]] if kept[:-1] else [], dict[tuple[str, ...], bool]()
    while parts and len(tried) < MOST_RETURNED:
        part = parts.pop()
        rest = tuple(name for name in kept if name not in part)
        if rest not in tried:
            tried[rest] = holds(rest)
        if tried[rest]:
            kept = rest
        else:
            parts += _halves(part)
    return tuple(kept)


def _halves(names: Sequence[str]) -> list[Sequence[str]]:
    """Two halves; one name alone has none."""
    middle = len(names) // 2
    return [names[:middle], names[middle:]] if middle else []
