"""Images run in a worker process: one that ends the process costs itself alone. Imports no PyTorch."""

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from types import TracebackType

from refinemask.batch.messages import Begun
from refinemask.batch.process import WorkerEndedError, WorkerProcess
from refinemask.batch.row import KILLED, Row
from refinemask.batch.settings import WorkerSettings
from refinemask.files import UserError


class _Attempt:
    """How far one run of neighbouring images came."""

    def __init__(self, images: range) -> None:
        self._images = images
        self.begun = self.done = 0
        """Number of images that were taken, and that have their row."""

    @property
    def suspects(self) -> range:
        """The images that were on their way at the end."""
        return self._images[self.done : self.begun]

    @property
    def untouched(self) -> range:
        """The images that were not taken."""
        return self._images[self.begun :]


class Guarded:
    """Runs images in one worker process after another, each of which lives until an image, or anything else, ends it.

    The images on their way at that moment are suspects. Halves of them run in a new process, and halves of the half
    that ends it, until one image is alone. That is tried again, and in the end has a row with its error. All others
    have the rows that they would have had without it.
    """

    def __init__(self, settings: WorkerSettings, retries: int) -> None:
        """Start the first process, and wait until its model is open.

        Args:
            settings: the model, and how it is run.
            retries: how often an image that ended a process alone is tried again; as often does a process start again
                that ended without an image.

        Raises:
            UserError: the model cannot be opened as asked, or the process ends each time before it is.
        """
        self._settings, self._retries = settings, retries
        self._process: WorkerProcess | None = None
        self._idle_ends = 0
        """How often in a row a process ended that had no image."""
        self.ends = 0
        """How many processes have ended early."""
        while self._process is None:
            try:
                self._living()
            except WorkerEndedError as error:
                self._count_idle_end(error)

    @property
    def engine(self) -> str:
        """The engine and its precision, such as ``ONNX Runtime fp32``."""
        return self._living().engine

    @property
    def pid(self) -> int | None:
        """Id of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def rows(self, references: Sequence[str]) -> Generator[Row, None, None]:
        """What becomes of each image, in order, as soon as it is done.

        Leaving the iteration before its end ends the process; the next images have a new one.

        Args:
            references: paths or URLs of images.

        Raises:
            UserError: the process ends each time before it takes an image.
        """
        waiting = [range(len(references))]
        ends: Counter[int] = Counter()
        while waiting:
            images = waiting.pop()
            attempt = _Attempt(images)
            try:
                yield from self._run(references[images.start : images.stop], attempt)
                continue
            except WorkerEndedError as error:
                self.ends += 1
                why = error
            suspects = attempt.suspects
            waiting.append(attempt.untouched)
            if not suspects:
                if not attempt.done:
                    self._count_idle_end(why)
            elif len(suspects) > 1:
                middle = len(suspects) // 2
                waiting += [suspects[middle:], suspects[:middle]]
            elif ends[suspects[0]] < self._retries:
                ends[suspects[0]] += 1
                waiting.append(suspects)
            else:
                times = ends[suspects[0]] + 1
                counted = "once" if times == 1 else f"{times} times"
                yield Row.failed(references[suspects[0]], f"{KILLED} {counted} ({why})")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.close()

    def __enter__(self) -> "Guarded":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, references: Sequence[str], attempt: _Attempt) -> Generator[Row, None, None]:
        if not references:
            return
        process = self._living()
        # Until the end it cannot be used again.
        self._process = None
        with closing(process.run(references)) as messages:
            for message in messages:
                self._idle_ends = 0
                if isinstance(message, Begun):
                    attempt.begun += 1
                else:
                    attempt.done += 1
                    yield message.row
        self._process = process

    def _living(self) -> WorkerProcess:
        if self._process is not None and not self._process.is_alive:
            # It had nothing to do, so no image did it.
            self.close()
            self.ends += 1
        if self._process is None:
            self._process = WorkerProcess(self._settings)
        return self._process

    def _count_idle_end(self, error: WorkerEndedError) -> None:
        self._idle_ends += 1
        if self._idle_ends > self._retries:
            counted = "once" if self._idle_ends == 1 else f"{self._idle_ends} times"
            raise UserError(
                f"{self._settings.model}: the worker process ended {counted} before it took an image ({error}); "
                "try the model with python -m refinemask.predict"
            ) from error
