"""What a run tells while it goes: a progress bar and ``metrics.jsonl``."""

import json
import resource
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm


class Report:
    """Averages over ``every`` iterations, shown beside the bar and appended to the metrics file."""

    def __init__(self, path: Path, *, start: int, total: int, per_epoch: int, images: int, every: int) -> None:
        """
        Args:
            path: the JSON-lines file, one object per record.
            start: iterations already done.
            total: iterations of the whole run.
            per_epoch: iterations per epoch.
            images: images per iteration.
            every: iterations per record.
        """
        self._file = path.open("a", encoding="utf-8")
        self._bar = tqdm(total=total, initial=start, unit="it", dynamic_ncols=True)
        self._per_epoch, self._images, self._every = per_epoch, images, every
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._count, self._waited, self._since = 0, 0.0, time.perf_counter()

    def step(self, iteration: int, losses: dict[str, float], rate: float, waited: float) -> None:
        """Take in one iteration: its loss terms, learning rate, and seconds spent waiting for images."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._waited += waited
        self._bar.update()
        if self._count == self._every or iteration == self._bar.total:
            means = {name: value / self._count for name, value in self._sums.items()}
            seconds = time.perf_counter() - self._since
            self.write(
                iteration=iteration,
                epoch=round(iteration / self._per_epoch, 3),
                loss=sum(means.values()),
                losses=means,
                learning_rate=rate,
                images_per_second=self._count * self._images / seconds,
                waiting_share=self._waited / seconds,
                memory_mb=_peak_memory_mb(),
            )
            self._bar.set_postfix(loss=f"{sum(means.values()):.3f}", lr=f"{rate:.2g}")
            self._clear()

    def write(self, **record: Any) -> None:
        """Append one record to the metrics file."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the bar and the file."""
        self._bar.close()
        self._file.close()


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
