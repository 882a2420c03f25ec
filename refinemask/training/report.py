"""Reports of a training run while it goes: a progress bar, ``metrics.jsonl`` and, if wished, TensorBoard events."""

import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from refinemask.extras import needed_by
from refinemask.files import UserError, atomic_write
from refinemask.json_files import Count, checked, parse_json
from refinemask.training.checkpoint import Progress
from refinemask.training.loop import Step
from refinemask.training.peak_memory import peak_memory_mb


class Report:
    """Averages over ``every`` iterations, shown beside the bar and appended to the metrics file."""

    def __init__(
        self,
        directory: Path,
        *,
        start: Progress,
        total: int,
        per_epoch: int,
        images: int,
        every: int,
        tensorboard: bool,
    ) -> None:
        """Open the files of the report.

        Args:
            directory: directory of the run.
            start: where the run stands; records of what it has still to do, left by a run that was killed, are dropped.
            total: iterations of the whole run.
            per_epoch: iterations per epoch.
            images: images per iteration.
            every: iterations per record.
            tensorboard: whether to write TensorBoard events.

        Raises:
            UserError: TensorBoard is asked for and not installed.
        """
        self._path = directory / "metrics.jsonl"
        evaluated = start.evaluated_epoch * per_epoch == start.iteration
        _drop_after(self._path, start.iteration, evaluated)
        self._events = _event_writer(directory, start.iteration) if tensorboard else None
        self._file = self._path.open("a", encoding="utf-8")
        self._bar = tqdm(total=total, initial=start.iteration, unit="it", dynamic_ncols=True)
        self._per_epoch, self._images, self._every = per_epoch, images, every
        self._begin_record(start.unreported, start.unreported_losses)

    def _begin_record(self, count: int = 0, sums: Mapping[str, float] | None = None) -> None:
        self._sums: Counter[str] = Counter(sums)
        # What an earlier process did has not taken this one's time.
        self._count, self._timed, self._waited, self._since = count, 0, 0.0, time.perf_counter()

    def unreported(self, progress: Progress) -> Progress:
        """The same progress with the iterations that are not in the metrics file yet."""
        return replace(progress, unreported=self._count, unreported_losses=dict(self._sums))

    def step(self, iteration: int, step: Step) -> None:
        """Record what an iteration, counted from 1, did."""
        self._sums.update(step.losses)
        self._count += 1
        self._timed += 1
        self._waited += step.waited
        self._bar.update()
        self.skip(iteration, step.skipped)
        if self._count >= self._every or iteration % self._per_epoch == 0:
            losses = {name: value / self._count for name, value in self._sums.items()}
            loss, seconds = sum(losses.values()), time.perf_counter() - self._since
            record = {
                "epoch": round(iteration / self._per_epoch, 4),
                "loss": loss,
                "losses": losses,
                "learning_rate": step.learning_rate,
                "images_per_second": self._timed * self._images / seconds,
                "waiting_share": self._waited / seconds,
                "memory_mb": _peak_memory_mb(),
            }
            self.write(iteration, record)
            self._bar.set_postfix_str(
                f"loss {loss:.3f}, lr {step.learning_rate:.2g}, {record['images_per_second']:.2f} images/s, "
                f"{record['waiting_share']:.0%} waiting, {record['memory_mb']:.0f} MB"
            )
            self._begin_record()

    def skip(self, iteration: int, reasons: Sequence[str]) -> None:
        """Report why images were left out."""
        for reason in reasons:
            self._bar.write(f"skipped: {reason}", file=sys.stderr)
            self.write(iteration, {"skipped": reason})

    def write(self, iteration: int, record: Mapping[str, Any]) -> None:
        """Append a record to the metrics file, and its numbers to TensorBoard's.

        Raises:
            UserError: the file has vanished, or the disk is full.
        """
        try:
            self._file.write(json.dumps({"iteration": iteration, **record}) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from error
        if not os.path.exists(self._path):
            raise UserError(f"{self._path}: has vanished while the run wrote it; give another --output")
        if self._events is not None:
            for name, value in _numbers(record):
                self._events.add_scalar(name, value, iteration)
        # The time of an evaluation must not count for the iterations after it.
        self._since = time.perf_counter() if self._count == 0 else self._since

    def picture(self, iteration: int, name: str, image: NDArray[np.uint8]) -> None:
        """Show an image [h, w, 3] RGB in TensorBoard."""
        if self._events is not None:
            self._events.add_image(name, image, iteration, dataformats="HWC")

    def close(self) -> None:
        """Finish the bar and the files."""
        self._bar.close()
        # What a full disk did not take was an error when it was written.
        with suppress(OSError):
            self._file.close()
        if self._events is not None:
            self._events.close()


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, value


def _drop_after(path: Path, iteration: int, evaluated: bool) -> None:
    """Drop what a run will write again that goes on from an iteration, which was evaluated or is still to be."""
    if path.is_file():
        kept = []
        for line in path.read_bytes().splitlines():
            found = _iteration(line)
            if found <= iteration:
                kept.append(line)
            if found == iteration and not evaluated and "losses" in parse_json(line):
                # What follows is of an evaluation whose end did not get into the state.
                break
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))


@dataclass(frozen=True, kw_only=True)
class _Position:
    """What every record of the metrics file has."""

    iteration: Count


def _iteration(line: bytes) -> float:
    """The iteration of a record; infinite for a damaged line, such as the last one of a run that was killed."""
    try:
        return checked(parse_json(line), _Position).iteration
    except ValueError:
        return math.inf


def _event_writer(directory: Path, start: int) -> Any:
    with needed_by("--tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(directory / "tensorboard", purge_step=start + 1)


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory_mb()
