"""Images per second from JPEG files to run lengths, one step after the other and with threads side by side."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

import engines
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.engine_files import begin_compiled, load_compiled
from benchmarks.gpu_suite.rounds import Spread
from benchmarks.gpu_suite.subjects import subject
from engines.base import Engine, check_inputs
from refinemask.bundled import PHOTOS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.kept_memory import keep_freed_memory
from refinemask.masks import paste_runs
from refinemask.phases import Phases, unmeasured
from refinemask.sources.files import Files
from refinemask.sources.images import ImageFile
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from refinemask.structures import ImageDetections

PHASES = ("decode", "preprocess", "copy in", "network", "paste + encode")
SLOTS = 3
"""Batches that are in the engine at the same time: one is pasted or copied while another is computed."""
MOST_DECODERS = 8
IMAGES, TINY_IMAGES = 240, 4
REPEATS, TINY_REPEATS = 10, 1
"""Runs of the network alone on each photograph."""

Canvas = tuple[int, int]


@dataclass(frozen=True)
class Loaded:
    """An image as the engine takes it."""

    images: np.ndarray
    image_sizes: np.ndarray
    scale_factors: np.ndarray
    shape: tuple[int, int]
    """(height, width) of the original image."""


@dataclass(frozen=True, kw_only=True)
class EndToEndReport:
    """One engine on the bundled photographs, one image at a time."""

    contender: str
    images: int
    """Number of images of each measurement."""
    detections: float
    """Mean number of detections of an image."""
    phases_ms: dict[str, Spread]
    """Wall-clock milliseconds of an image by phase, where one follows the other."""
    serial_fps: float
    """Images per second where one phase follows the other."""
    pipelined_fps: float
    """Images per second through the pipeline, where threads decode, compute and paste side by side."""
    network_fps: float
    """Images per second of the network alone, whose inputs lie on the device."""
    decoders: int
    """Number of threads that decode and resize."""
    slots: int
    """Number of batches that are in the engine at the same time."""

    @property
    def pipelined_share(self) -> float:
        """Images per second from files to run lengths, as a share of those of the network alone."""
        return self.pipelined_fps / self.network_fps

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        rates = (
            f"{self.serial_fps:.0f} serial, {self.pipelined_fps:.0f} pipelined, {self.network_fps:.0f} network alone"
        )
        return f"{self.contender}: images per second: {rates}"


def prepare_end_to_end(context: Context) -> None:
    """Begin to compile the engine."""
    network = subject(context, "refinemask")
    begin_compiled(context, network.checkpoint, _precision(context), network.canvas, batch=1)


def run_end_to_end(context: Context) -> EndToEndReport:
    """Measure the compiled engine or, where there is none, eager PyTorch."""
    network = subject(context, "refinemask")
    for name, slots, load in (
        (
            f"compiled {_precision(context)}",
            SLOTS if context.cuda else 1,
            partial(load_compiled, context, network.checkpoint, _precision(context), 1, SLOTS if context.cuda else 1),
        ),
        ("eager", 1, partial(_load_eager, context, network.checkpoint)),
    ):
        report = context.attempt(name, partial(_measure, context, name, slots, load, network.canvas))
        if report is not None:
            return report
    raise NotRunError("no engine ran from files to run lengths")


def _precision(context: Context) -> str:
    return "fp16" if context.cuda else "fp32"


def _load_eager(context: Context, checkpoint: Path) -> Engine:
    return engines.load(checkpoint, device=context.device, precision=_precision(context))


def _measure(context: Context, name: str, slots: int, load: Callable[[], Engine], canvas: Canvas) -> EndToEndReport:
    keep_freed_memory()
    engine, photos = load(), sorted((PHOTOS / "images").iterdir())
    count = TINY_IMAGES if context.tiny else IMAGES
    paths = [photos[index % len(photos)] for index in range(count)]
    decoders = max(1, min(MOST_DECODERS, (os.cpu_count() or 1) - 2))
    inputs = [load_image(engine, path, canvas) for path in photos[:count]]
    try:
        _warm_up(engine, inputs, slots)
        phases, detections = serial(engine, paths, canvas)
    except ImportError as error:
        raise NotRunError(f"the strings of run lengths need the kernels, or a package: {error}") from error
    alone = network_seconds(engine, inputs, TINY_REPEATS if context.tiny else REPEATS)
    return EndToEndReport(
        contender=name,
        images=count,
        detections=detections / count,
        phases_ms={phase: Spread.of(samples) for phase, samples in phases.items()},
        serial_fps=count / (sum(map(sum, phases.values())) / 1e3),
        pipelined_fps=count / pipelined(engine, paths, canvas, slots=slots, decoders=decoders),
        network_fps=1 / alone,
        decoders=decoders,
        slots=slots,
    )


def load_image(engine: Engine, path: Path, canvas: Canvas) -> Loaded:
    """Decode and resize an image."""
    return _fit(engine, read_image(path), canvas)


def _fit(engine: Engine, pixels: np.ndarray, canvas: Canvas) -> Loaded:
    batch = preprocess([pixels], engine.config.preprocessing, canvas)
    images, sizes = check_inputs(batch.images, batch.image_sizes, engine.bounds)
    return Loaded(images, sizes, batch.scale_factors, pixels.shape[:2])


def paste(engine: Engine, outputs: Any, loaded: Loaded) -> ImageDetections:
    """Make run lengths of the masks; on a CPU their strings are left out, for which a bare machine lacks a package."""
    if engine.device != "cpu":
        return engine.encode(outputs, loaded.scale_factors, [loaded.shape])[0]
    detections = engine.download(outputs)
    real = slice(int(detections.num_detections[0]))
    boxes = detections.boxes[0, real] / loaded.scale_factors[0]
    paste_runs(detections.masks[0, real], boxes, *loaded.shape)
    return ImageDetections(boxes, detections.scores[0, real], detections.labels[0, real], [])


class InSlots:
    """An engine as the pipeline takes it: every image is padded to one size, and strings are those of :func:`paste`."""

    def __init__(self, engine: Engine, canvas: Canvas, slots: int) -> None:
        """``slots`` is the number of batches that the engine computes at the same time."""
        self.name, self.config, self.precision, self.concurrency = engine.name, engine.config, engine.precision, slots
        self._engine, self._canvas = engine, canvas

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> Canvas:
        """The one padded size."""
        return self._canvas

    def detect(
        self,
        images: np.ndarray,
        image_sizes: np.ndarray,
        scale_factors: np.ndarray,
        image_shapes: Sequence[tuple[int, int]],
        *,
        phases: Phases = unmeasured,
    ) -> list[ImageDetections]:
        """The detections of one image; see :class:`refinemask.prediction.Predictor`."""
        inputs = check_inputs(images, image_sizes, self._engine.bounds)
        with phases("engine"):
            outputs = self._engine.run(self._engine.upload(*inputs))
        with phases("paste"):
            [shape] = image_shapes
            return [paste(self._engine, outputs, Loaded(*inputs, scale_factors, shape))]


def _warm_up(engine: Engine, images: Sequence[Loaded], slots: int) -> None:
    """Run every image in every slot, for each records a graph where a number of detections is new to it."""
    for image in images:
        uploaded = [engine.upload(image.images, image.image_sizes) for _ in range(slots)]
        for inputs in uploaded:
            paste(engine, engine.run(inputs), image)


def serial(engine: Engine, paths: Sequence[Path], canvas: Canvas) -> tuple[dict[str, list[float]], int]:
    """Milliseconds of every image by phase, and the number of detections."""
    samples, detections = defaultdict(list), 0
    for path in paths:
        marks = [time.perf_counter()]
        pixels = read_image(path)
        marks.append(time.perf_counter())
        loaded = _fit(engine, pixels, canvas)
        marks.append(time.perf_counter())
        inputs = engine.upload(loaded.images, loaded.image_sizes)
        marks.append(time.perf_counter())
        outputs = engine.run(inputs)
        marks.append(time.perf_counter())
        detections += len(paste(engine, outputs, loaded).scores)
        marks.append(time.perf_counter())
        for phase, start, end in zip(PHASES, marks[:-1], marks[1:], strict=True):
            samples[phase].append((end - start) * 1e3)
    return dict(samples), detections


def pipelined(engine: Engine, paths: Sequence[Path], canvas: Canvas, *, slots: int, decoders: int) -> float:
    """Seconds for all images through the pipeline of predictions."""
    items = Files([ImageFile(path, PurePosixPath(path.stem)) for path in paths])
    options = StreamOptions(batch_size=1, workers=decoders)
    with _one_thread_for_opencv():
        start = time.perf_counter()
        for result in stream(InSlots(engine, canvas, slots), items, options).results():
            if result.error is not None:
                raise result.error
        return time.perf_counter() - start


@contextmanager
def _one_thread_for_opencv() -> Iterator[None]:
    """OpenCV's own threads would take the cores from those that decode side by side."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def network_seconds(engine: Engine, images: Sequence[Loaded], repeats: int) -> float:
    """Mean over the images of the median seconds of the network alone, its input on the device."""
    medians = []
    for image in images:
        inputs, times = engine.upload(image.images, image.image_sizes), []
        for _ in range(repeats):
            start = time.perf_counter()
            outputs = engine.run(inputs)
            times.append(time.perf_counter() - start)
        paste(engine, outputs, image)
        medians.append(float(np.median(times)))
    return float(np.mean(medians))
