"""The threads that carry images from a source to predictions, and what happens when one of them fails.

    source ─► decode ─► batches ─► resize, engine, paste, render ─► results in the order of the source
    1 thread  workers   1 thread   as many as run and paste          the caller

Decoding, resizing, the network and most of pasting release Python's lock, so threads are enough. A window bounds how
many images are on the way, and a budget how many bytes of them. Imports no PyTorch.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

from refinemask.files import UserError
from refinemask.prediction import Predictor, detect
from refinemask.sources.item import Item
from refinemask.streaming.batches import Batches
from refinemask.streaming.budget import Budget
from refinemask.streaming.meter import Meter
from refinemask.streaming.plan import Plan
from refinemask.streaming.work import Part, Render, Result, Work
from refinemask.tiling import Tiling

T = TypeVar("T")
MOST_BYTES = 1 << 29
"""Size of the decoded images that are on the way, beyond which no other is decoded."""
SECONDS_FOR_SOURCE = 5.0
"""How long the end of a pipeline waits for a source that gives nothing."""


class _EndedError(Exception):
    """The pass ended before an image was decoded."""


class Pipeline(Generic[T]):
    """One pass over a source."""

    def __init__(
        self, predictor: Predictor, items: Iterable[Item], plan: Plan, tiling: Tiling | None, render: Render[T] | None
    ) -> None:
        """Prepare the pass; it begins with the iteration over :meth:`results`."""
        self.meter = Meter(plan.capacities)
        self._predictor, self._items, self._tiling, self._render = predictor, items, tiling, render
        # What waits for its batch must leave room, or nothing would be decoded that completes it.
        self._batches: Batches[T] = Batches(plan.batch_size, plan.patience, MOST_BYTES // 2)
        self._window = Semaphore(plan.window)
        self._budget = Budget(MOST_BYTES)
        self._decoding = ThreadPoolExecutor(plan.decoders, "refinemask-decode")
        self._computing = ThreadPoolExecutor(plan.computers, "refinemask-compute")
        self._decoded: SimpleQueue[tuple[Work[T], Future[list[Part[T]]]] | None] = SimpleQueue()
        self._results: SimpleQueue[Future[Result[T]] | None] = SimpleQueue()
        self._stopped = Event()
        """No other image is taken from the source."""
        # Threads that wait for a source must not keep the process alive.
        self._feeder = Thread(target=self._feed, name="refinemask-source", daemon=True)
        self._batcher = Thread(target=self._batch, name="refinemask-batches", daemon=True)

    def results(self) -> Generator[Result[T], None, None]:
        """The results, in the order of the source; what fails but for a UserError of an image is raised here."""
        self._feeder.start()
        self._batcher.start()
        try:
            while (future := self._results.get()) is not None:
                result = future.result()
                self._window.release()
                with self.meter("output"):
                    yield result
        finally:
            self._end()

    def _end(self) -> None:
        """Leave no thread behind, whatever is still on the way."""
        self._stopped.set()
        self._window.release()
        self._budget.close()
        # A source that waits for input ends so; a generator can be closed by the thread in which it runs alone.
        if not isinstance(self._items, Iterator) and (close := getattr(self._items, "close", None)) is not None:
            close()
        self._decoded.put(None)
        self._batcher.join()
        self._decoding.shutdown()
        self._computing.shutdown(cancel_futures=True)
        self._feeder.join(SECONDS_FOR_SOURCE)

    def _feed(self) -> None:
        """Take images from the source as the window allows."""
        items = None
        try:
            items, index = iter(self._items), 0
            while (item := self._next(items)) is not None:
                work: Work[T] = Work(index, item)
                self._decoded.put((work, self._decoding.submit(self._read, work)))
                self._results.put(work.result)
                index += 1
        except BaseException as error:
            # The pool refuses what comes after the end.
            if not self._stopped.is_set():
                failed: Future[Result[T]] = Future()
                failed.set_exception(error)
                self._results.put(failed)
        finally:
            self._decoded.put(None)
            self._results.put(None)
            if (close := getattr(items, "close", None)) is not None:
                close()

    def _next(self, items: Iterator[Item]) -> Item | None:
        self._window.acquire()
        if self._stopped.is_set():
            return None
        with self.meter("source"):
            return next(items, None)

    def _read(self, work: Work[T]) -> list[Part[T]]:
        if not self._budget.enter(work.index):
            raise _EndedError
        with self.meter("decode"):
            parts = work.read(self._predictor, self._tiling)
        self._budget.add(work.bytes)
        return parts

    def _batch(self) -> None:
        """Put parts together as they come, in the order of the source."""
        while (decoded := self._decoded.get()) is not None:
            work, future = decoded
            try:
                batches = self._batches.add(future.result())
            except _EndedError:
                return
            except UserError as error:
                self._settle(work, Result(item=work.item, error=error, was_read=False))
                batches = self._batches.pass_over(work.index)
            except BaseException as error:
                self._break(work, error)
                batches = self._batches.pass_over(work.index)
            self._submit(batches)
        self._submit(self._batches.rest())

    def _submit(self, batches: Iterator[list[Part[T]]]) -> None:
        for batch in batches:
            self._computing.submit(self._compute, batch)

    def _compute(self, batch: Sequence[Part[T]]) -> None:
        # An image that failed in one part needs no other.
        batch = [part for part in batch if not part.work.result.done()]
        if not batch:
            return
        canvas = batch[0].canvas
        pixels = [part.pixels for part in batch]
        try:
            found = detect(self._predictor, pixels, canvas.size if canvas.fixed else None, self.meter)
        except UserError as error:
            if len(batch) > 1:
                # One of them may be at fault.
                for part in batch:
                    self._compute([part])
            else:
                self._settle(batch[0].work, Result(item=batch[0].work.item, error=error))
            return
        except BaseException as error:
            for part in batch:
                self._break(part.work, error)
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
            work.result.set_result(result)

    def _break(self, work: Work[T], error: BaseException) -> None:
        """Let the pass end by ``error`` where the caller comes to this image."""
        self._stopped.set()
        if work.claim():
            self._budget.add(-work.bytes)
            work.result.set_exception(error)
