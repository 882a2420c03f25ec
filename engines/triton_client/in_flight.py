"""Work in several threads whose results keep the order of what was given."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(function: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Generator[R, None, None]:
    """The results of a function of each item, in order.

    Args:
        function: called in one of the threads.
        items: taken in the caller's thread.
        threads: number of calls at the same time.
        ahead: number of items that are taken before the result of the first of them is given.

    Raises:
        Exception: what the function raised, where the iteration reaches the item; it ends the iteration.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "refinemask-request") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                while waiting and (len(waiting) > ahead or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
