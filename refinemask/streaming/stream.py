"""Predictions of a source of images, in its order. Imports no PyTorch."""

from collections.abc import Iterable
from typing import TypeVar

from refinemask.prediction import Predictor
from refinemask.sources.item import Item
from refinemask.streaming.pipeline import Pipeline
from refinemask.streaming.plan import make_plan
from refinemask.streaming.work import Render
from refinemask.tiling import Tiling

T = TypeVar("T")


def stream(
    predictor: Predictor,
    items: Iterable[Item],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    tiling: Tiling | None = None,
    render: Render[T] | None = None,
) -> Pipeline[T]:
    """Detect objects in images of any number, with all stages of the work side by side.

    A pass over :meth:`Pipeline.results` gives a result for each image, in order. An image that fails is such a result.
    Anything else that fails ends the pass: the results of the images before it come first. Leaving the iteration
    ends all threads.

    Args:
        predictor: the detector.
        items: the images; another thread iterates over them, a few images ahead of the results. An attribute ``live``
            that is true keeps few ahead, as a camera needs it.
        batch_size: images, or tiles of images, that go through the network together; None is what the predictor
            prefers. Only images of one padded size go together, and an image is padded as it would be alone.
        workers: threads that decode, and that resize and paste; None chooses by the processors of this machine.
        tiling: tiles in which larger images are predicted; None leaves every image whole.
        render: makes something of each image in a thread of its own, such as a drawing.

    Raises:
        UserError: a number is not possible.
    """
    plan = make_plan(predictor, batch_size, workers, live=getattr(items, "live", False))
    return Pipeline(predictor, items, plan, tiling, render)
