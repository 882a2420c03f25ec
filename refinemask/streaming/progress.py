"""A bar with images per second and the stage that limits them. Imports no PyTorch."""

from collections.abc import Generator
from typing import Any, TypeVar

from tqdm import tqdm

from refinemask.streaming.pipeline import Pipeline
from refinemask.streaming.work import Result

T = TypeVar("T")


def with_progress(pipeline: Pipeline[T], total: int | None, **notes: Any) -> Generator[Result[T], None, None]:
    """The results of a pipeline, beside a bar on standard error if that is a terminal.

    Args:
        pipeline: the pipeline; leaving the iteration ends it.
        total: number of images, if it is known.
        notes: functions without arguments, whose values are shown behind their names.
    """
    results = pipeline.results()
    with tqdm(total=total, desc="predicting", unit="image", disable=None) as bar:
        try:
            for result in results:
                yield result
                values = {name: note() for name, note in notes.items()}
                # The bar is drawn a few times a second; text alone costs little.
                bar.set_postfix(limit=pipeline.meter.limit(), **values, refresh=False)
                bar.update()
        finally:
            # Not left to the garbage collector: the threads end before what the caller does next.
            results.close()
