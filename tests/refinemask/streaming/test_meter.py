"""Which stage of a pipeline is busy."""

import pytest

from refinemask.streaming.meter import Meter


def test_shares_are_of_the_capacity() -> None:
    now = 0.0
    meter = Meter({"decode": 2, "engine": 1, "output": 1}, clock=lambda: now)
    with meter("decode"):
        now = 1.0
        with meter("decode"), meter("engine"):
            now = 2.0
            # One that waits for the engine does not make it busier.
            with meter("engine"):
                now = 4.0
    now = 8.0
    assert meter.shares() == pytest.approx({"decode": (1 + 3 * 2) / 16, "engine": 3 / 8, "output": 0})
    assert meter.limit() == "decode"


def test_what_is_busy_now_counts() -> None:
    now = 0.0
    meter = Meter({"engine": 1, "output": 1}, clock=lambda: now)
    with meter("output"):
        now = 5.0
        assert meter.shares() == {"engine": 0, "output": 1}
        assert meter.limit() == "output"


def test_stages_of_the_same_threads_limit_together() -> None:
    now = 0.0
    meter = Meter({"decode": 1, "paste": 1, "render": 1}, ("paste", "render"), clock=lambda: now)
    for stage, seconds in (("paste", 4), ("render", 5)):
        with meter(stage):
            now += seconds
    with meter("decode"):
        now += 7
    assert meter.limit() == "render"
    with meter("decode"):
        now += 3
    assert meter.limit() == "decode"
