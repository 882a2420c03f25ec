"""Mask and boundary AP of an exported file."""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from refinemask.evaluation.run import evaluate
from refinemask.files import UserError
from refinemask.kept_layers import Accuracy
from refinemask.prediction import Predictor


class Judged(NamedTuple):
    """The accuracy of a file, and what it was judged by."""

    accuracy: Accuracy
    images: int
    """Number of annotated images that could be used."""


def onnx_accuracy(
    file: Path, annotations: Path, images: Path, *, predictions: Path | None = None, backend: str = "onnxruntime"
) -> Judged:
    """Evaluate an exported file on annotated images.

    Args:
        file: the file, with bodies.
        annotations: annotations of any format that :func:`refinemask.evaluate` reads.
        images: folder of the images that the annotations name.
        predictions: file that keeps the predictions, from which an interrupted run goes on; None keeps none.
        backend: the engine, by the name that ``engines.load`` has for it.

    Raises:
        UserError: the file, the annotations or the images cannot be used, or there is no object to find.
    """
    found = evaluate(
        lambda: _open(file, backend),
        annotations,
        images,
        iou_types=("segm", "boundary"),
        model=file,
        predictions=predictions,
        resamples=0,
    )
    mask, boundary = (100 * found.figures[kind]["AP"] for kind in ("segm", "boundary"))
    if min(mask, boundary) < 0:
        raise UserError(f"{annotations}: has no object in the {found.images} images, expected some to judge AP by")
    return Judged(Accuracy(mask=mask, boundary=boundary), found.images)


def _open(file: Path, backend: str) -> Predictor:
    # The exporter lies below the engines; its search for a file's accuracy alone reaches up to them.
    import engines

    # What an engine remarks is of a candidate, which nobody will ever see, and would be said again of each one.
    with redirect_stderr(StringIO()):
        return engines.load(file, backend=backend)
