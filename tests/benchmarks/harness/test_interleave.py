"""Engines take turns: same batches, shuffled order, nothing lost."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.interleave import interleave

BATCHES = [[Path("a")], [Path("b")], [Path("c")]]


class Recorder:
    """A worker that answers with what it was asked for and notes its turn."""

    pid = 0

    def __init__(self, name: str, turns: list[tuple[str, str]]) -> None:
        self.name, self.turns = name, turns

    def process(self, paths: Sequence[Path], canvas: tuple[int, int] | None) -> tuple[SimpleNamespace, list[str]]:
        self.turns.append((self.name, paths[0].name))
        padded = (64, 96) if paths[0].name < "c" else (96, 64)
        sample = SimpleNamespace(engine=self.name, image=paths[0].name, canvas=canvas, padded=padded)
        return sample, [f"{self.name} found"]


@pytest.fixture
def turns() -> list[tuple[str, str]]:
    return []


def test_every_engine_gets_every_batch_once_per_round(turns: list[tuple[str, str]]) -> None:
    workers: list[Any] = [Recorder(name, turns) for name in "xyz"]
    rounds: list[Any] = list(interleave(workers, BATCHES, rounds=7, warmup=2, canvas=(64, 96)))
    assert [each.batch for each in rounds] == [0, 1, 2, 0, 1, 2, 0]
    for each in rounds:
        assert [sample.engine for sample in each.samples] == ["x", "y", "z"]
        assert each.results == [["x found"], ["y found"], ["z found"]]
        assert {(sample.image, sample.canvas) for sample in each.samples} == {(BATCHES[each.batch][0].name, (64, 96))}
    # The rounds ran one after the other, in the orders that were reported, behind the warm-up.
    counted = turns[2 * 3 :]
    for number, each in enumerate(rounds):
        assert [name for name, _ in counted[3 * number : 3 * number + 3]] == ["xyz"[index] for index in each.order]


def test_the_order_is_shuffled_by_the_seed(turns: list[tuple[str, str]]) -> None:
    workers: list[Any] = [Recorder(name, turns) for name in "xyz"]

    def orders(seed: int) -> list[list[int]]:
        return [each.order for each in interleave(workers, BATCHES, rounds=60, warmup=0, seed=seed)]

    assert len({tuple(order) for order in orders(0)}) == 6
    assert orders(0) == orders(0) != orders(1)


def test_an_engine_that_records_sizes_has_recorded_each_before_it_counts(turns: list[tuple[str, str]]) -> None:
    """The third picture alone is upright, and the warm-up of three rounds ends with it."""
    workers: list[Any] = [Recorder(name, turns) for name in "xy"]
    rounds: list[Any] = list(interleave(workers, BATCHES[::-1], rounds=4, warmup=3, warm_sizes=True))
    assert [sample.image for each in rounds for sample in each.samples] == [*"ccbbaacc"]
    for name in "xy":
        seen = [image for engine, image in turns if engine == name]
        first_upright = seen.index("c")
        assert seen.count("c") == 3 + 1 + 2, seen
        assert seen[first_upright : first_upright + 4] == ["c"] * 4
    turns.clear()
    list(interleave(workers, BATCHES, rounds=3, warmup=0, warm_sizes=True))
    assert len(turns) == 6


class Meter:
    """A device whose counter grows by the number of turns so far, and whose clock is that number."""

    update_seconds = 0.001

    def __init__(self, turns: list[tuple[str, str]]) -> None:
        self.turns = turns

    def state(self) -> DeviceState:
        return DeviceState(sm_mhz=len(self.turns))

    def joules(self) -> float:
        return sum(range(len(self.turns) + 1))


def test_energy_is_that_of_the_engine_s_own_counted_run(turns: list[tuple[str, str]]) -> None:
    workers: list[Any] = [Recorder(name, turns) for name in "xy"]
    rounds = list(interleave(workers, BATCHES[:1], rounds=3, warmup=1, warm_sizes=True, device=Meter(turns)))
    for each in rounds:
        first, second = each.order
        assert each.state is not None
        assert each.state.sm_mhz is not None
        assert each.joules[second] == each.state.sm_mhz
        assert each.joules[first] == each.state.sm_mhz - 1
    assert [each.state for each in interleave(workers, BATCHES, rounds=1, warmup=0)] == [None]
