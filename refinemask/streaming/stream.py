"""Predictions of a source of images, in its order. Imports no PyTorch."""

from collections.abc import Iterable
from typing import Any, TypeVar, overload

from refinemask.prediction import Predictor
from refinemask.sources.item import Item
from refinemask.streaming.pipeline import Pipeline
from refinemask.streaming.plan import StreamOptions, make_plan
from refinemask.streaming.work import Render

T = TypeVar("T")


@overload
def stream(
    predictor: Predictor, items: Iterable[Item], options: StreamOptions | None = None, *, render: None = None
) -> Pipeline[None]: ...
@overload
def stream(
    predictor: Predictor, items: Iterable[Item], options: StreamOptions | None = None, *, render: Render[T]
) -> Pipeline[T]: ...
def stream(
    predictor: Predictor,
    items: Iterable[Item],
    options: StreamOptions | None = None,
    *,
    render: Render[Any] | None = None,
) -> Pipeline[Any]:
    """Detect objects in images of any number, with all stages of the work side by side.

    A pass over :meth:`Pipeline.results` gives a result for each image, in order. An image that fails is such a result.
    Anything else that fails ends the pass: the results of the images before it come first. Leaving the iteration
    ends all threads.

    Only images of one padded size go through the network together, and each is padded as it would be alone.

    Args:
        predictor: the detector.
        items: the images; another thread iterates over them, a few images ahead of the results. An attribute ``live``
            that is true keeps few ahead, as a camera needs it.
        options: batch size, threads and tiles.
        render: makes something of each image beside the other work, such as a drawing.
    """
    plan = make_plan(predictor, options or StreamOptions(), live=getattr(items, "live", False))
    return Pipeline(predictor, items, plan, options.tiling if options else None, render)
