"""Works take turns in an order shuffled anew, and one that breaks takes no other with it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from benchmarks.gpu_suite import rounds
from benchmarks.gpu_suite.rounds import CALLS, LEAST_ROUNDS, Spread, take_turns


class Recorded:
    """Work that writes its name into a log."""

    def __init__(self, log: list[str], name: str, breaks_at: int | None = None) -> None:
        self.log, self.name, self.breaks_at, self.open = log, name, breaks_at, False

    def run(self) -> None:
        assert self.open
        self.log.append(self.name)
        if self.log.count(self.name) == self.breaks_at:
            raise ZeroDivisionError(self.name)

    def turn(self) -> AbstractContextManager[None]:
        @contextmanager
        def settings() -> Iterator[None]:
            self.open = True
            yield
            self.open = False

        return settings()


def fail(name: str, error: Exception) -> None:
    pytest.fail(f"{name}: {error}")


def test_every_round_gives_everyone_a_turn_in_another_order() -> None:
    log: list[str] = []
    works = {name: Recorded(log, name) for name in "abcd"}
    samples = take_turns(works, "cpu", seconds=60, rounds=6, failed=fail)
    turns = log[:: CALLS + 1]
    assert log == [name for name in turns for _ in range(CALLS + 1)]
    orders = [tuple(turns[start : start + 4]) for start in range(0, len(turns), 4)]
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 1
    assert {name: len(taken) for name, taken in samples.items()} == dict.fromkeys("abcd", 6 * CALLS)
    assert all(0 <= sample.enqueue <= sample.wall for sample in samples["a"])


def test_who_breaks_is_told_and_left_out() -> None:
    log: list[str] = []
    told: list[tuple[str, str]] = []
    works = {"good": Recorded(log, "good"), "bad": Recorded(log, "bad", breaks_at=CALLS + 3)}
    samples = take_turns(works, "cpu", seconds=60, rounds=4, failed=lambda name, error: told.append((name, str(error))))
    assert told == [("bad", "bad")]
    assert set(samples) == {"good"}
    assert log.count("bad") == CALLS + 3
    assert len(samples["good"]) == 4 * CALLS


def test_a_few_rounds_are_run_when_the_time_is_over() -> None:
    samples = take_turns({"a": Recorded([], "a")}, "cpu", seconds=0, rounds=100, failed=fail)
    assert len(samples["a"]) == LEAST_ROUNDS * CALLS


def test_the_spread_is_that_of_the_samples() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(q1=2.0, median=3.0, q3=4.0, n=5)


class Event:
    """An event of a device that does its work at once; every call takes it a second."""

    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        Event.now += 1
        self.at = Event.now

    def elapsed_time(self, other: "Event") -> float:
        return (other.at - self.at) * 1e3


def test_a_gpu_s_time_is_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(rounds.torch.cuda, "Event", Event)
    monkeypatch.setattr(rounds.torch.cuda, "synchronize", lambda: waited.append(1))
    log: list[str] = []
    samples = take_turns({"a": Recorded(log, "a")}, "cuda", seconds=60, rounds=2, failed=fail)
    assert [sample.device for sample in samples["a"]] == [1e3] * 2 * CALLS
    assert all(sample.enqueue <= sample.wall for sample in samples["a"])
    assert len(waited) == 2 * len(log)
