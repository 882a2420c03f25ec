"""Numbers of places for detections that masks are computed for."""

STEPS = (8, 16, 32, 64)


def place_counts(places: int) -> tuple[int, ...]:
    """0, and growing numbers of places up to all of them: each has code of its own shape, or a graph of its own."""
    return (0, *(step for step in STEPS if step < places), places)
