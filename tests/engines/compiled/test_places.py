"""The numbers of places that masks are computed for."""

import pytest

from engines.compiled.places import place_counts


@pytest.mark.parametrize(
    ("places", "counts"),
    [
        (100, (0, 8, 16, 32, 64, 100)),
        (64, (0, 8, 16, 32, 64)),
        (12, (0, 8, 12)),
        (8, (0, 8)),
        (5, (0, 5)),
        (1, (0, 1)),
    ],
)
def test_numbers_grow_from_none_to_all_places(places: int, counts: tuple[int, ...]) -> None:
    assert place_counts(places) == counts
