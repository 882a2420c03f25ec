"""Faults and delays at random places of a pipeline: it never hangs, loses nothing silently and leaves no thread.

``FAULTS=20000`` is the number of passes of the slow test.
"""

import gc
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from refinemask.files import UserError
from refinemask.streaming.batches import Batches
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from refinemask.streaming.work import Result, Work
from refinemask.tiling import Tiling
from tests.support.bright_box import BrightBox
from tests.support.stream_items import MadeItem
from tests.support.watched import assert_no_thread_is_left, own_threads, watch

ERRORS = RuntimeError, MemoryError, KeyboardInterrupt, CancelledError, OSError, SystemExit
LEAVES = "never", "never", "close", "error", "drop"
"""How the caller ends the iteration."""


class LeftError(Exception):
    """The caller's own error."""


class Faults:
    """Decides where something goes wrong, and remembers what did."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.fatal: list[str] = []
        self._rates = {place: self.dice.choice([0, 0, 0, 0.003, 0.03, 0.3]) for place in PLACES}
        self._is_slow = {place: self.dice.random() < 0.3 for place in PLACES}

    def at(self, place: str, *, may_refuse: bool = False) -> None:
        """Take a while here, or fail; a UserError is no fault of an image unless ``may_refuse``."""
        if self._is_slow[place]:
            time.sleep(self.dice.random() * 0.002)
        if self.dice.random() < self._rates[place]:
            if may_refuse and self.dice.random() < 0.7:
                raise UserError(place)
            self.fatal.append(place)
            raise self.dice.choice(ERRORS)(place)


PLACES = (
    *("iter", "next", "close", "close iterator", "read", "canvas", "detect", "phase", "render"),
    *("start", "submit", "add", "part"),
)


class FaultySource:
    """Items, with faults; ``close`` may be called at any time."""

    def __init__(self, items: list[MadeItem], faults: Faults) -> None:
        self._items, self._faults = items, faults

    def __iter__(self) -> "Iterator[MadeItem]":
        self._faults.at("iter")
        return FaultyIterator(self._items, self._faults)

    def close(self) -> None:
        self._faults.at("close")


class FaultyIterator:
    def __init__(self, items: list[MadeItem], faults: Faults) -> None:
        self._items, self._faults = iter(items), faults

    def __iter__(self) -> "FaultyIterator":
        return self

    def __next__(self) -> MadeItem:
        self._faults.at("next")
        return next(self._items)

    def close(self) -> None:
        self._faults.at("close iterator")


class FaultyBox(BrightBox):
    """A detector with faults."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self.concurrency = faults.dice.randint(1, 3)

    def canvas(self, image_shapes: Any) -> Any:
        self._faults.at("canvas")
        return super().canvas(image_shapes)

    def detect(self, *args: Any, phases: Any = None, **others: Any) -> list[Any]:
        with phases("engine"):
            self._faults.at("detect", may_refuse=True)
            found = super().detect(*args, **others)
        with phases("paste"):
            self._faults.at("phase", may_refuse=True)
        return found


@dataclass
class Passed:
    """What the caller of a pass got."""

    results: list[Result[int]]
    left: bool = False


def one_pass(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass with the faults of a seed, and all that must hold of it."""
    faults = Faults(seed)
    dice = faults.dice
    items = [
        MadeItem(
            number % 255 + 1,
            *(dice.randint(1, 90), dice.randint(1, 90)),
            bad=dice.random() < 0.1,
            happens=lambda: faults.at("read", may_refuse=True),
        )
        for number in range(dice.randint(0, 40))
    ]
    options = StreamOptions(
        batch_size=dice.randint(1, 4),
        workers=dice.randint(1, 4),
        tiling=Tiling(40, 8) if dice.random() < 0.4 else None,
    )
    if dice.random() < 0.3:
        monkeypatch.setattr("refinemask.streaming.pipeline.MOST_BYTES", dice.randint(1, 4) * 5000)
    _wrap(monkeypatch, threading.Thread, "start", faults, "start")
    _wrap(monkeypatch, ThreadPoolExecutor, "submit", faults, "submit")
    _wrap(monkeypatch, Batches, "add", faults, "add")
    _wrap(monkeypatch, Work, "add", faults, "part")

    def render(item: Any, prediction: Any, pixels: np.ndarray) -> int:
        faults.at("render", may_refuse=True)
        return int(pixels[0, 0, 0])

    passed, leave, when = Passed([]), dice.choice(LEAVES), dice.randint(1, 20)

    def consume() -> None:
        results = stream(FaultyBox(faults), FaultySource(items, faults), options, render=render).results()
        for result in results:
            passed.results.append(result)
            if leave != "never" and len(passed.results) == when:
                passed.left = True
                if leave == "close":
                    results.close()
                if leave == "error":
                    raise LeftError
                return

    raised: BaseException | None = None
    try:
        watch(consume)
    except (*ERRORS, LeftError) as error:
        raised = error
    finally:
        monkeypatch.undo()
    if raised is not None:
        assert faults.fatal or passed.left, f"seed {seed}: {raised!r} for nothing"
    else:
        assert passed.left or not faults.fatal, f"seed {seed}: lost {faults.fatal}"
        assert passed.left or len(passed.results) == len(items), f"seed {seed}"
    # An error that is kept keeps the iteration.
    raised = None
    if own_threads():
        # The caller's error keeps the iteration until it is collected.
        gc.collect()
    assert_no_thread_is_left()
    for result, item in zip(passed.results, items, strict=False):
        assert result.item is item, f"seed {seed}"
        if result.error is None:
            assert result.rendered == item.brightness
            assert result.prediction is not None
            assert (result.prediction.height, result.prediction.width) == (item.height, item.width)
            assert not item.bad
        else:
            assert str(result.error) in (*PLACES, f"{item.name}: is bad")


def _wrap(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, faults: Faults, place: str) -> None:
    original = getattr(owner, name)

    def faulty(self: Any, *args: Any) -> Any:
        if owner is not threading.Thread or self.name.startswith("refinemask"):
            faults.at(place)
        return original(self, *args)

    monkeypatch.setattr(owner, name, faulty)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pass_with_faults_ends_and_tells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        one_pass(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_many_passes_with_faults_end_and_tell_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(1000, 1000 + int(os.environ.get("FAULTS", "5000"))):
        one_pass(seed, monkeypatch)
