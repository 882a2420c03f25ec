"""Pieces on Ray Data, round after round until all are finished. Imports neither Ray nor PyTorch.

A round is one run of Ray Data over pieces that are not finished, with a pool of actors. What an actor or a node had in
its hands when it was lost is left out of the round, and is part of the next one: which pieces are finished is known by
their files alone.
"""

import json
import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from threading import Event, Thread
from typing import Any

from refinemask.batch.actor import PieceActor, Task
from refinemask.batch.cluster import Pool
from refinemask.batch.shards import Shard
from refinemask.files import UserError
from refinemask.foreign import reason

MOST_PIECES = 10_000
"""Pieces of a round: each is an object of Ray, which its owner knows from the beginning."""
MOST_EMPTY = 3
"""Rounds one behind the other that may end without a finished piece."""
TICK = 0.5
"""Seconds between two looks at how far the actors are."""


class Tally:
    """How many images of each piece are done: an actor of Ray, which takes no processor."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}

    def tell(self, piece: int, rows: int) -> None:
        """Take note that so many images of a piece are done."""
        self._rows[piece] = rows

    def rows(self) -> dict[int, int]:
        """The number of images that are done, by piece."""
        return self._rows


def finish(pieces: Sequence[int], task: Task, pool: Pool, look: Callable[[int], None]) -> Iterator[Shard]:
    """Have the pieces computed; yields what a manifest says of each as soon as it is written.

    Args:
        pieces: numbers of the pieces that are not finished.
        task: the job.
        pool: the actors.
        look: told, a few times a second, how many images are done of pieces that are not finished.

    Raises:
        UserError: a piece cannot be computed or written, or the actors end again and again.
        RuntimeError: a fault of this project, with the traceback of the actor.
    """
    left, empty = dict.fromkeys(pieces), 0
    while left:
        round_ = Round(list(left)[:MOST_PIECES], task, pool)
        before = len(left)
        for shard in round_.shards(look):
            left.pop(shard.piece, None)
            yield shard
        empty = 0 if len(left) < before else empty + 1
        if empty == MOST_EMPTY:
            why = reason(round_.failure) if round_.failure else "the actors ended while they worked on it"
            raise UserError(f"piece {next(iter(left))} was begun {MOST_EMPTY} times and not finished: {why}")


class Round:
    """One run of Ray Data over pieces."""

    def __init__(self, pieces: Sequence[int], task: Task, pool: Pool) -> None:
        """Prepare the run; it begins with the iteration over :meth:`shards`."""
        self._pieces, self._task, self._pool = pieces, task, pool
        self._done: set[int] = set()
        self.failure: BaseException | None = None
        """What Ray raised, if the round ended by that."""

    def shards(self, look: Callable[[int], None]) -> Iterator[Shard]:
        """The finished pieces; see :func:`finish`."""
        import ray

        tally: Any = ray.remote(num_cpus=0)(Tally).remote()
        ended = Event()
        looking = Thread(target=self._look, args=(tally, look, ended), name="refinemask-look", daemon=True)
        looking.start()
        try:
            with closing(self._answers(tally)) as answers:
                for answer in answers:
                    shard = _shard_of(json.loads(answer))
                    self._done.add(shard.piece)
                    yield shard
        except ray.exceptions.RayError as error:
            self.failure = error
        finally:
            # Whatever asks Ray after its end starts another one.
            ended.set()
            looking.join()
            ray.kill(tally)

    def _look(self, tally: Any, look: Callable[[int], None], ended: Event) -> None:
        import ray

        while not ended.wait(TICK):
            try:
                rows: dict[int, int] = ray.get(tally.rows.remote(), timeout=TICK)
            except ray.exceptions.RayError:
                # The node of the tally is busy or lost; the round goes on without it.
                continue
            look(sum(count for piece, count in rows.items() if piece not in self._done))

    def _answers(self, tally: Any) -> Generator[str, None, None]:
        import ray

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # What a lost actor had in its hands is the next round's; everything else of this one goes on.
        context.max_errored_blocks = -1
        _quieten()
        pieces = ray.data.from_items(
            [{"piece": piece} for piece in self._pieces], override_num_blocks=len(self._pieces)
        )
        answers = pieces.map_batches(
            PieceActor,
            fn_constructor_args=(self._task, tally),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(
                min_size=min(self._pool.least or 1, len(self._pieces)),
                max_size=min(self._pool.most or 1, len(self._pieces)),
                max_tasks_in_flight_per_actor=1,
            ),
            num_cpus=self._pool.cpus,
            num_gpus=self._pool.gpus or None,
            # A piece that waits for its actor's place on a lost node would wait for ever.
            max_task_retries=0,
            max_restarts=-1,
        )
        for batch in answers.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            yield from batch["answer"].tolist()


def _shard_of(answer: dict[str, Any]) -> Shard:
    if "error" in answer:
        raise UserError(answer["error"])
    if "bug" in answer:
        raise RuntimeError(f"a piece failed:\n{answer['bug']}")
    return Shard(**answer["shard"])


def _quieten() -> None:
    """Keep Ray Data's own reports off the terminal; they are in its log files all the same."""
    # The extra keeps Ray below the version that has no such arguments.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    for name in ("ray.data", "ray"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.CRITICAL)
