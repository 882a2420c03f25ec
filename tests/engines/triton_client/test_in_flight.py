import threading
from collections.abc import Iterator

import pytest

from engines.triton_client.in_flight import in_order


def test_results_keep_the_order_whatever_ends_first() -> None:
    second_is_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_is_done.wait(30)
        if number == 1:
            second_is_done.set()
        return number * number

    assert list(in_order(work, range(20), threads=2, ahead=4)) == [number * number for number in range(20)]


def test_few_items_are_taken_ahead_of_the_caller() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), threads=2, ahead=3)
    assert next(results) == 0
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5


def test_an_error_comes_where_its_item_is() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(work, range(10), threads=4, ahead=8)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
