"""A source of images predicted into outputs."""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinemask.files import UserError
from refinemask.prediction import Prediction, Predictor, class_labels
from refinemask.sources.item import Item
from refinemask.sources.source import Source
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.progress import with_progress
from refinemask.streaming.stream import stream
from refinemask.streaming.work import Result
from refinemask.writers.own_files import RefusedOutputError
from refinemask.writers.writer import Writer

KEPT_REASONS = 100
"""Largest number of failed images whose reasons are kept."""


Rendered = tuple[Prediction, list[Any]]
"""What was found in an image, and what each writer made of it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of some images."""

    predicted: int
    """Number of images that were predicted and written."""
    failed: int
    """Number of images that could not be read, predicted or drawn."""
    reasons: tuple[str, ...]
    """Why the first hundred of these failed."""


@dataclass(frozen=True, kw_only=True)
class Written(Outcome):
    """What became of the images of a source."""

    dropped: int
    """Number of frames of cameras and streams that came while all were busy."""
    seconds: float
    """How long that took."""
    limit: str
    """The stage of the work for which the others waited."""


def write_predictions(
    predictor: Predictor,
    source: Source,
    writers: Sequence[Writer],
    *,
    class_names: Sequence[str] | None = None,
    options: StreamOptions | None = None,
) -> Written:
    """Detect the objects of every image of a source, and write what was found; an image that fails is passed over.

    Whatever ends the work early, the outputs have what was found until then.

    Args:
        predictor: the detector, such as an engine.
        source: the images, such as :func:`refinemask.sources.words.source_of` gives them.
        writers: the outputs.
        class_names: classes of the objects to write; None is all.
        options: batch size, threads and tiles.

    Raises:
        UserError: there is no such class, or an output would replace an input or cannot be written.
    """
    if class_names is not None:
        class_labels(predictor.config, class_names)

    def render(item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> Rendered:
        chosen = prediction if class_names is None else prediction.select(class_names)
        return chosen, [writer.render(item, chosen, pixels) for writer in writers]

    start = time.perf_counter()
    pipeline = stream(predictor, source, options, render=render)
    notes = {"dropped": lambda: source.dropped} if source.live else {}
    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        # The threads end before the outputs do.
        results = stack.enter_context(closing(with_progress(pipeline, source.total, **notes)))
        outcome = write_results(results, writers)
    return Written(
        predicted=outcome.predicted,
        failed=outcome.failed,
        reasons=outcome.reasons,
        dropped=source.dropped,
        seconds=time.perf_counter() - start,
        limit=pipeline.meter.limit(),
    )


def write_results(results: Iterable[Result[Rendered]], writers: Sequence[Writer]) -> Outcome:
    """Write results, each of which was rendered for every writer; one that failed is passed over.

    Args:
        results: what became of each image, in order.
        writers: the outputs, which are open.

    Raises:
        UserError: an output would replace an input or cannot be written.
    """
    reasons: list[str] = []
    predicted = failed = 0
    for result in results:
        if isinstance(result.error, RefusedOutputError):
            raise result.error
        if result.error is not None:
            failed += 1
            if failed <= KEPT_REASONS:
                reasons.append(_named(result.item, result.error))
            for writer in writers:
                writer.fail(result.item, result.error)
            continue
        assert result.rendered is not None
        prediction, rendered = result.rendered
        predicted += 1
        for writer, each in zip(writers, rendered, strict=True):
            writer.write(result.item, prediction, each)
    return Outcome(predicted=predicted, failed=failed, reasons=tuple(reasons))


def _named(item: Item, error: UserError) -> str:
    return str(error) if item.name in str(error) else f"{item.name}: {error}"
