"""The threads that carry images from a source to predictions, and what happens when one of them fails.

    source ─► decode ─► batches ─► resize, engine, paste, render ─► results in the order of the source
    1 thread  workers   1 thread   as many as run and paste          the caller

One more thread, the supervisor, starts and ends the others: in the caller's thread Ctrl-C could come at any line.

Decoding, resizing and the network release Python's lock, and pasting takes little beside them, so threads are enough. A
window bounds how many images are on the way, and a budget how many bytes of them. Imports no PyTorch.
"""

import atexit
import os
from _thread import start_new_thread
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Thread, current_thread
from typing import Generic, TypeVar

from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.prediction import Predictor, detect
from refinemask.sources.item import Item
from refinemask.streaming.batches import Batches
from refinemask.streaming.budget import Budget
from refinemask.streaming.meter import Meter
from refinemask.streaming.plan import HOST_STAGES, Plan
from refinemask.streaming.work import Part, Render, Result, Work
from refinemask.tiling import Tiling

T = TypeVar("T")
MOST_BYTES = 1 << 29
"""Size of the decoded images that are on the way, beyond which no other is decoded."""
SECONDS_FOR_BATCH = 0.2
"""How long an incomplete batch waits for a source that gives nothing."""
SECONDS_FOR_SOURCE = 5.0
"""How long the end of a pipeline waits for a source that gives nothing."""


class Pipeline(Generic[T]):
    """One pass over a source."""

    def __init__(
        self, predictor: Predictor, items: Iterable[Item], plan: Plan, tiling: Tiling | None, render: Render[T] | None
    ) -> None:
        """Prepare the pass; it begins with the iteration over :meth:`results`."""
        self.meter = Meter(plan.capacities, HOST_STAGES)
        self._predictor, self._items, self._tiling, self._render = predictor, items, tiling, render
        # What waits for its batch must leave room, or nothing would be decoded that completes it.
        self._batches: Batches[T] = Batches(plan.batch_size, plan.patience, MOST_BYTES // 2)
        # The caller's thread touches none but such queues: Ctrl-C, or the garbage collector, would leave a lock locked.
        self._window: SimpleQueue[None] = SimpleQueue()
        self._results: SimpleQueue[Work[T] | None] = SimpleQueue()
        self._left: SimpleQueue[None] = SimpleQueue()
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(plan.window):
            self._window.put(None)
        self._budget = Budget(MOST_BYTES)
        self._decoding = ThreadPoolExecutor(plan.decoders, "refinemask-decode", self._belong)
        self._computing = ThreadPoolExecutor(plan.computers, "refinemask-compute", self._belong)
        self._decoded: SimpleQueue[tuple[Work[T], Future[list[Part[T]]]] | None] = SimpleQueue()
        self._waits_for_source = False
        self._stopped = False
        """No other image is taken from the source."""
        self._failure: BaseException | None = None
        """The first error that ends the pass."""
        # Threads that wait for a source must not keep the process alive.
        self._supervisor, self._feeder, self._batcher = (
            Thread(target=run, name=f"refinemask-{name}", daemon=True)
            for name, run in (("supervisor", self._supervise), ("source", self._feed), ("batches", self._batch))
        )
        self._own: set[Thread] = set()
        self._is_begun = False
        self._process: int | None = None
        """The process of the threads, while there are any."""

    def __iter__(self) -> Generator[Result[T], None, None]:
        return self.results()

    def results(self) -> Generator[Result[T], None, None]:
        """The results, in the order of the source; what fails but for a UserError of an image is raised here.

        Raises:
            RuntimeError: the pass was begun before.
        """
        if self._is_begun:
            raise RuntimeError("a pipeline is one pass over its source, and it was begun before; make another one")
        self._is_begun = True
        # The interpreter stops the threads before it closes an iteration that nobody ended.
        atexit.register(self._leave)
        try:
            # The start of a Thread takes a lock, too.
            start_new_thread(self._launch, ())
            self._process = os.getpid()
            while (work := self._results.get()) is not None:
                result = work.outcome.get()
                if isinstance(result, BaseException):
                    raise result
                self._window.put(None)
                with self.meter("output"):
                    yield result
            if self._failure is not None:
                raise self._failure
        finally:
            # Before anything that Ctrl-C could prevent: from here on the threads end, whether or not somebody waits.
            self._left.put(None)
            self._leave()

    def _leave(self) -> None:
        """Wait until no thread is left."""
        self._left.put(None)
        # A fork has none of the threads, and a pass that has ended has no more.
        is_running, self._process = self._process == os.getpid(), None
        atexit.unregister(self._leave)
        # The garbage collector ends an iteration in any thread, and one of these cannot wait for itself.
        if is_running and current_thread() not in self._own and (error := self._ended.get()) is not None:
            raise error

    def _launch(self) -> None:
        try:
            self._supervisor.start()
        except BaseException as error:
            self._fail(error)
            self._results.put(None)
            self._ended.put(None)

    def _supervise(self) -> None:
        """Start the other threads, and end them when the caller leaves; no signal is handled in this thread."""
        self._belong()
        try:
            # In this order: whatever the source gives needs somebody to take it.
            self._batcher.start()
            self._feeder.start()
        except BaseException as refused:
            self._fail(refused)
            self._results.put(None)
        self._left.get()
        error: BaseException | None = None
        try:
            self._end()
        except BaseException as caught:
            error = caught
        self._join()
        self._ended.put(error)

    def _end(self) -> None:
        """Tell every thread that nobody waits for results any more."""
        self._stopped = True
        self._window.put(None)
        self._budget.close()
        self._decoding.shutdown(wait=False, cancel_futures=True)
        self._computing.shutdown(wait=False, cancel_futures=True)
        self._decoded.put(None)
        # A source that waits for input ends so; a generator can be closed by the thread in which it runs alone.
        if not isinstance(self._items, Iterator):
            _close(self._items)

    def _join(self) -> None:
        # The system may have refused to start one.
        if self._batcher.is_alive():
            self._batcher.join()
        self._decoding.shutdown()
        self._computing.shutdown()
        if self._feeder.is_alive():
            self._feeder.join(SECONDS_FOR_SOURCE)

    def _belong(self) -> None:
        self._own.add(current_thread())

    def _feed(self) -> None:
        """Take images from the source."""
        self._belong()
        items: Iterator[Item] = iter(())
        try:
            items = iter(self._items)
            for index, item in enumerate(self._as_the_window_allows(items)):
                work: Work[T] = Work(index, item)
                self._decoded.put((work, self._decoding.submit(self._read, work)))
                self._results.put(work)
        except BaseException as error:
            self._fail(error)
        try:
            _close(items)
        except BaseException as error:
            self._fail(error)
        self._decoded.put(None)

    def _as_the_window_allows(self, items: Iterator[Item]) -> Iterator[Item]:
        while True:
            self._window.get()
            # Frames of a video take their memory before they are decoded in a stage of their own.
            self._budget.wait()
            if self._stopped:
                return
            self._waits_for_source = True
            with self.meter("source"):
                try:
                    item = next(items)
                except StopIteration:
                    return
            self._waits_for_source = False
            yield item

    def _read(self, work: Work[T]) -> list[Part[T]]:
        if not self._budget.enter(work.index):
            raise CancelledError
        with self.meter("decode"):
            parts = work.read(self._predictor, self._tiling)
        self._budget.add(work.bytes)
        return parts

    def _batch(self) -> None:
        """Put parts together as they come, in the order of the source."""
        self._belong()
        while (decoded := self._next_decoded()) is not None:
            work, future = decoded
            try:
                self._submit(self._batches.add(work.index, self._parts(work, future)))
            except BaseException as error:
                self._break(work, error)
        self._submit(self._batches.rest())
        # What is left to do may belong to images that have failed already; an error in it is an error, too.
        self._computing.shutdown()
        self._results.put(None)

    def _next_decoded(self) -> "tuple[Work[T], Future[list[Part[T]]]] | None":
        """The next image; None at the end. While the source gives none, nothing waits for a full batch."""
        while True:
            try:
                return self._decoded.get(timeout=SECONDS_FOR_BATCH)
            except Empty:
                if self._waits_for_source:
                    self._submit(self._batches.rest())

    def _parts(self, work: Work[T], future: "Future[list[Part[T]]]") -> list[Part[T]]:
        """The parts of an image; none if it failed."""
        try:
            return future.result()
        except UserError as error:
            self._settle(work, Result(item=work.item, error=error, was_read=work.was_read))
        except BaseException as error:
            self._break(work, error)
        return []

    def _submit(self, batches: Iterator[list[Part[T]]]) -> None:
        for batch in batches:
            try:
                self._computing.submit(self._compute, batch)
            except BaseException as error:
                # The pass has ended, or the system gives no other thread.
                self._break_all(batch, error)

    def _compute(self, batch: Sequence[Part[T]]) -> None:
        try:
            # An image that failed in one part needs no other.
            batch = [part for part in batch if not part.work.is_done]
            if batch:
                self._detect(batch)
        except BaseException as error:
            self._break_all(batch, error)

    def _detect(self, batch: Sequence[Part[T]]) -> None:
        canvas = batch[0].canvas
        pixels = [part.pixels for part in batch]
        try:
            found = detect(self._predictor, pixels, canvas.size if canvas.fixed else None, self.meter)
        except InputError as error:
            # Each image was found to fit by itself, so it is their number that does not.
            self._break_all(batch, error)
            return
        except UserError as error:
            if len(batch) > 1:
                # One of them may be at fault.
                for part in batch:
                    self._compute([part])
            else:
                self._settle(batch[0].work, Result(item=batch[0].work.item, error=error))
            return
        for part, each in zip(batch, found, strict=True):
            if part.work.add(part.place, each):
                self._finish(part.work)

    def _finish(self, work: Work[T]) -> None:
        try:
            with self.meter("render"):
                result = work.finish(self._predictor, self._render)
        except UserError as error:
            result = Result(item=work.item, error=error)
        except BaseException as error:
            self._break(work, error)
            return
        self._settle(work, result)

    def _settle(self, work: Work[T], result: Result[T]) -> None:
        if work.claim():
            self._budget.add(-work.bytes)
            work.outcome.put(result)

    def _break_all(self, batch: Sequence[Part[T]], error: BaseException) -> None:
        for part in batch:
            self._break(part.work, error)

    def _break(self, work: Work[T], error: BaseException) -> None:
        """Let the pass end by ``error`` where the caller comes to this image, or at the latest at the end."""
        self._fail(error)
        if work.claim():
            self._budget.add(-work.bytes)
            work.outcome.put(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stopped = True


def _close(source: object) -> None:
    if (close := getattr(source, "close", None)) is not None:
        close()
