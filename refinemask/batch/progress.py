"""How far a job is: a bar on a terminal, a line a minute elsewhere. Imports no PyTorch."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

from refinemask.batch.shards import Shard

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Images that are done, images per second, the time that is left, and how many failed."""

    def __init__(self, total: int, finished: int, failed: int) -> None:
        """Begin.

        Args:
            total: number of images of the job.
            finished: number of those that were done before.
            failed: number of those that had failed before.
        """
        self._total, self._finished, self._failed, self._before = total, finished, failed, finished
        self._bar = tqdm(total=total, initial=finished, desc="predicting", unit="image", disable=None, smoothing=0.05)
        self._begun = self._told = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def add(self, shard: Shard) -> None:
        """Count the images of a finished piece."""
        self._finished += shard.rows
        self._failed += shard.failed
        self.look(0)

    def look(self, under_way: int) -> None:
        """Show how far it is; ``under_way`` images are done of pieces that are not finished."""
        done = self._finished + under_way
        if not self._bar.disable:
            self._bar.set_postfix(failed=self._failed, refresh=False)
            # Pieces of lost actors go back to nothing.
            self._bar.update(max(done, self._finished) - self._bar.n)
        elif time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            print(self._line(done), file=sys.stderr, flush=True)

    def _line(self, done: int) -> str:
        seconds = time.monotonic() - self._begun
        rate = (done - self._before) / seconds if seconds > 0 else 0.0
        left = tqdm.format_interval((self._total - done) / rate) if rate > 0 else "unknown"
        return f"{done} of {self._total} images, {self._failed} failed, {rate:.3g} images/s, time left {left}"


class Listing:
    """How many images are listed: a counter on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        """Begin at none."""
        self._bar = tqdm(desc="listing", unit="image", disable=None)

    def __call__(self, images: int) -> None:
        """Show the number of images that are listed until now."""
        self._bar.update(images - self._bar.n)

    def close(self) -> None:
        """Leave the counter as it is."""
        self._bar.close()
