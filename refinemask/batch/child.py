"""The worker process: ``python -m refinemask.batch.child HANDLE PARENT`` opens a model, and runs what it is sent.

``HANDLE`` is its end of a connection, which is inherited from the process ``PARENT``. There come the settings once, and
then references of images, run by run; :mod:`refinemask.batch.messages` go back. The process ends when the connection
does.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from refinemask.batch.faults import is_of_process
from refinemask.batch.messages import Begun, Done, Finished, Message, Ready, Refused
from refinemask.batch.referenced import ReferencedImage
from refinemask.batch.row import Row
from refinemask.batch.settings import WorkerSettings
from refinemask.config import with_window
from refinemask.exit_codes import BAD_INPUT
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.kept_memory import keep_freed_memory
from refinemask.orphans import end_with_parent
from refinemask.prediction import Prediction, Predictor
from refinemask.sources.item import Item
from refinemask.streaming.plan import MOST_WORKERS, StreamOptions
from refinemask.streaming.stream import stream
from refinemask.streaming.work import Result
from refinemask.tiling import make_tiling

FAILED = 1
"""Exit code where the process itself, and none of its images, is at fault, as far as it can tell."""
LONGEST_ERROR = 1000
"""Characters of the reason why an image failed."""
Send = Callable[[Message], None]


class _Begun:
    """Images of references, each announced before it is taken."""

    live = False

    def __init__(self, references: Sequence[str], send: Send) -> None:
        self._references, self._send = references, send

    def __iter__(self) -> Iterator[ReferencedImage]:
        for reference in self._references:
            self._send(Begun())
            yield ReferencedImage(reference)


def main() -> int:
    """Serve the process that started this one, until it closes the connection."""
    # Who started it hears Ctrl-C, too, and ends the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print belongs to the reason of a failure.
    os.dup2(2, 1)
    handle, parent = map(int, sys.argv[1:])
    end_with_parent(parent)
    os.set_inheritable(handle, False)
    keep_freed_memory()
    with Connection(handle) as connection:
        try:
            return _serve(connection)
        except UserError as error:
            print(one_line(error, LONGEST_ERROR), file=sys.stderr)
        except Exception:
            traceback.print_exc()
    return FAILED


def _serve(connection: Connection) -> int:
    settings: WorkerSettings = connection.recv()
    lock = Lock()

    def send(message: Message) -> None:
        # The thread that takes the images and the one that has the results both do.
        with lock:
            connection.send(message)

    try:
        predictor, options = _open(settings), _options(settings)
    except UserError as error:
        send(Refused(str(error)))
        return BAD_INPUT
    send(Ready(f"{predictor.name} {predictor.precision}"))
    while True:
        try:
            references: Sequence[str] = connection.recv()
        except EOFError:
            return 0
        _predict(predictor, references, options, send)
        send(Finished())


def _open(settings: WorkerSettings) -> Predictor:
    # The engines are built on this package; only what runs them reaches up to them.
    import engines

    engine = engines.load(
        settings.model,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
        detections=settings.detections,
        score_threshold=settings.score_threshold,
    )
    engine.config = with_window(engine.config, settings.window)
    return engine


def _options(settings: WorkerSettings) -> StreamOptions:
    # A machine has other worker processes, so it is not the number of its processors that counts.
    workers = max(1, min(MOST_WORKERS, settings.threads // 2))
    tiling = make_tiling(settings.tile, settings.overlap)
    return StreamOptions(batch_size=settings.batch_size, workers=workers, tiling=tiling)


def _predict(predictor: Predictor, references: Sequence[str], options: StreamOptions, send: Send) -> None:
    """Send the row of each image, in order.

    Raises:
        UserError: an image failed for a reason that may be the process's own.
    """
    with closing(stream(predictor, _Begun(references, send), options, render=_row).results()) as results:
        for result in results:
            send(Done(_row_of(result)))


def _row_of(result: Result[Row]) -> Row:
    if result.error is None:
        assert result.rendered is not None
        return result.rendered
    if is_of_process(result.error, was_read=result.was_read):
        raise result.error
    return Row.failed(result.item.name, one_line(result.error, LONGEST_ERROR))


def _row(item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> Row:
    return Row(
        image=item.name,
        height=prediction.height,
        width=prediction.width,
        boxes=prediction.boxes.astype(np.float32, copy=False),
        scores=prediction.scores.astype(np.float32, copy=False),
        labels=prediction.labels.astype(np.int32),
        category_ids=np.array(prediction.category_ids, np.int32),
        counts=tuple(rle["counts"].decode("ascii") for rle in prediction.rles),
    )


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of a runtime that failed could keep the interpreter from its end.
    os._exit(code)
