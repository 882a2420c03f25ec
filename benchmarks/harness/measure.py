"""Running several engines over the same images, and collecting all there is to report."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm, trange

from benchmarks.harness.interleave import Round, interleave
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.measured_device import MeasuredDevice, attributed, open_device
from benchmarks.harness.pipeline import Sample
from benchmarks.harness.settings import Settings
from benchmarks.harness.spec import EngineSpec
from benchmarks.harness.worker import Worker
from refinemask.config import Window
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.structures import Result

Collect = Callable[[int, int, list[Result]], None]
"""Function of an engine's index, an image's index, and the engine's COCO results in that image, without image ids."""
Check = Callable[[Sequence[Worker]], None]
"""Function of the engines that raises a UserError if they cannot be measured together."""
Read = Callable[[int, Window | None], object]
"""Function of an image's index and the engines' window that raises a UserError if the image cannot be used."""


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """What one engine did."""

    spec: EngineSpec
    name: str
    """Runtime, such as ``PyTorch``."""
    precision: str
    samples: list[Sample]
    """Samples of the rounds, in order."""
    peak_memory_bytes: int | None
    """Host memory; None where the system does not tell."""
    device_memory_bytes: int | None
    """GPU memory; None on a CPU."""
    joules: float | None = None
    """Energy of the device in the engine's turns; None where it is not counted, or too coarsely."""


@dataclass(frozen=True)
class Measurement:
    """Engines side by side."""

    settings: Settings
    batches: list[list[Path]]
    """Images of every batch."""
    skipped: list[Path]
    """Images that could not be used."""
    rounds: list[Round]
    runs: list[EngineRun]
    foreign_load: float | None
    """Other processes' share of the CPUs during the rounds."""
    window: Window | None = None
    """How the engines see images of more than 8 bits."""


def measure(
    engines: Sequence[str],
    images: Sequence[Path],
    settings: Settings,
    collect: Collect | None = None,
    check: Check | None = None,
    read: Read | None = None,
) -> Measurement:
    """Run every engine over the images, taking turns.

    Images that cannot be used are left out, and named on standard error, before any engine runs.

    Args:
        engines: as :class:`EngineSpec` reads them; the first is the baseline of the others.
        images: the image files.
        settings: how to measure.
        collect: is given the results of every engine in every image, once; they are not kept otherwise.
        check: is given the engines before anything is measured; None takes any.
        read: reads an image, to see whether it can be used; None reads its file.

    Raises:
        UserError: an engine is wrong, no image can be used, or an engine's process ended.
    """
    if not engines or not images:
        raise UserError(f"nothing to measure: {len(engines)} engines and {len(images)} images; expected one at least")
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(text, settings)) for text in engines]
        if check is not None:
            check(workers)
        window = _window(workers)
        usable = _usable(images, read or (lambda number, window: read_image(images[number], window)), window)
        batches = _batches([images[number] for number in usable], settings.batch)
        load = ForeignLoad([os.getpid(), *(worker.pid for worker in workers)])
        count = settings.rounds or len(batches)
        device = open_device(settings.device)
        turns = interleave(
            workers,
            batches,
            rounds=count,
            warmup=settings.warmup,
            seed=settings.seed,
            canvas=settings.canvas,
            warm_sizes=settings.device != "cpu",
            device=device,
        )
        rounds: list[Round] = []
        for each in tqdm(turns, "measuring", count, disable=None):
            if collect is not None and len(rounds) < len(batches):
                for engine, results in enumerate(each.results):
                    for offset, detections in enumerate(results):
                        collect(engine, usable[each.batch * settings.batch + offset], detections)
            rounds.append(replace(each, results=[]))
        foreign_load = load.fraction()
        runs = [_engine_run(worker, index, rounds, device) for index, worker in enumerate(workers)]
    skipped = [images[number] for number in sorted({*range(len(images))} - {*usable})]
    return Measurement(settings, batches, skipped, rounds, runs, foreign_load, window)


def _engine_run(worker: Worker, index: int, rounds: Sequence[Round], device: MeasuredDevice | None) -> EngineRun:
    samples = [each.samples[index] for each in rounds]
    return EngineRun(
        spec=worker.spec,
        name=worker.name,
        precision=worker.precision,
        samples=samples,
        peak_memory_bytes=worker.peak_memory_bytes(),
        device_memory_bytes=worker.device_memory_bytes(),
        joules=joules_of(index, rounds, device),
    )


def joules_of(index: int, rounds: Sequence[Round], device: MeasuredDevice | None) -> float | None:
    """Energy of the device in the turns of the engine of that index; None where it cannot be told."""
    if device is None:
        return None
    seconds = [sum(each.samples[index].seconds.values()) for each in rounds]
    alone = all(len(each.samples) == 1 for each in rounds)
    return attributed([each.joules[index] for each in rounds], seconds, device.update_seconds, alone)


def _worker(engine: str, settings: Settings) -> Worker:
    return Worker(
        EngineSpec.parse(engine),
        threads=settings.threads,
        device=settings.device,
        trust_engine=settings.trust_engine,
    )


def _window(workers: Sequence[Worker]) -> Window | None:
    """The window of the engines' preprocessing; None if one of them has none, and so takes images of 8 bits only."""
    windows = [worker.config.preprocessing.window for worker in workers]
    return windows[0] if all(windows) else None


def _usable(images: Sequence[Path], read: Read, window: Window | None) -> list[int]:
    """Indices of the images that can be used; the reasons for the others go to standard error."""
    usable, reasons = [], []
    for number in trange(len(images), desc="reading", unit="image", disable=None):
        try:
            read(number, window)
        except UserError as error:
            reasons.append(str(error))
        else:
            usable.append(number)
    if not usable:
        raise UserError(f"none of the {len(images)} images could be used; the first: {reasons[0]}")
    for reason in reasons:
        print(f"skipped: {reason}", file=sys.stderr)
    return usable


def _batches(images: Sequence[Path], size: int) -> list[list[Path]]:
    batches = [list(images[start : start + size]) for start in range(0, len(images), size)]
    if len(batches[-1]) < size and len(batches) > 1:
        raise UserError(f"{len(images)} images do not fill batches of {size}; use --limit or --batch 1")
    return batches
