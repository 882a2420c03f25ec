"""Signals that wait for compiled code."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from engines.compiled.signals import held_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that arrived."""
    signals: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: signals.append(number)) for number in NUMBERS}
    yield signals
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals, heard: list[int]) -> None:
    handlers = [signal.getsignal(number) for number in NUMBERS]
    with held_signals():
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert heard == []
    assert heard == [number]
    assert [signal.getsignal(number) for number in NUMBERS] == handlers


def test_an_error_of_the_block_gives_way_to_ctrl_c() -> None:
    @held_signals()
    def fail() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError

    with pytest.raises(KeyboardInterrupt):
        fail()


def test_without_a_signal_nothing_happens(heard: list[int]) -> None:
    with held_signals():
        pass
    with pytest.raises(ValueError, match="of the block"), held_signals():
        raise ValueError("of the block")
    assert heard == []


def test_what_ends_the_process_still_does() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with held_signals():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_leave_signals_alone(heard: list[int]) -> None:
    def handler() -> object:
        with held_signals():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handler).result() == signal.getsignal(signal.SIGINT)
