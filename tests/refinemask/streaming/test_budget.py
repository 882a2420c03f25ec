"""Images pass in their order while there is room."""

import threading

from refinemask.streaming.budget import Budget
from tests.support.processes import wait_until


def waiting(budget: Budget, index: int, passed: list[tuple[int, bool]]) -> threading.Thread:
    thread = threading.Thread(target=lambda: passed.append((index, budget.enter(index))), daemon=True)
    thread.start()
    return thread


def test_images_pass_in_their_order_while_there_is_room() -> None:
    budget, passed = Budget(10), []  # type: ignore[var-annotated]
    second = waiting(budget, 1, passed)
    assert not wait_until(lambda: bool(passed), 0.1)
    waiting(budget, 0, passed).join(10)
    second.join(10)
    assert passed == [(0, True), (1, True)]
    budget.add(10)
    third = waiting(budget, 2, passed)
    assert not wait_until(lambda: len(passed) > 2, 0.1)
    budget.add(-1)
    third.join(10)
    assert passed[2:] == [(2, True)]


def test_nobody_waits_at_a_closed_gate() -> None:
    budget, passed = Budget(10), []  # type: ignore[var-annotated]
    budget.add(10)
    threads = [waiting(budget, index, passed) for index in (0, 5)]
    budget.close()
    for thread in threads:
        thread.join(10)
    assert sorted(passed) == [(0, False), (5, False)]
