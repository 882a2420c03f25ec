"""From predictions to the arrays of an answer. Knows nothing of Triton. Imports no PyTorch."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.triton.interface import NO_LABEL
from engines.triton.question import AskedImage, Wanted
from refinemask.files import UserError
from refinemask.masks import RLE, decode
from refinemask.prediction import Prediction
from refinemask.sources.item import Item


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What was found in an image, as its request wants it."""

    prediction: Prediction
    """The detections that count."""
    segmentations: Sequence[bytes]
    """The mask of each, in the form that was asked for."""


def found_in(prediction: Prediction, wanted: Wanted) -> Found:
    """The detections that count, and their masks in the form that is wanted."""
    # As in a network, the threshold is a number of float32; scores descend.
    count = int((prediction.scores > np.float32(wanted.score_threshold)).sum())
    if count < len(prediction):
        prediction = replace(
            prediction,
            boxes=prediction.boxes[:count],
            scores=prediction.scores[:count],
            labels=prediction.labels[:count],
            rles=prediction.rles[:count],
        )
    return Found(prediction=prediction, segmentations=_segmentations(prediction, wanted))


def arrays(found: Sequence[Found]) -> dict[str, NDArray[np.generic]]:
    """The outputs of a request, by name; images with fewer objects than others are filled up.

    Args:
        found: what was found in each of its B images.

    Returns:
        An array [B, …] for each of ``interface.OUTPUTS``; texts are object arrays of bytes.
    """
    batch, places = len(found), max(len(each.prediction) for each in found)
    sizes = [(each.prediction.height, each.prediction.width) for each in found]
    boxes = np.zeros((batch, places, 4), np.float32)
    scores = np.zeros((batch, places), np.float32)
    labels = np.full((batch, places), NO_LABEL, np.int32)
    names = np.full((batch, places), b"", object)
    segmentations = np.full((batch, places), b"", object)
    for row, each in enumerate(found):
        real = slice(len(each.prediction))
        boxes[row, real], scores[row, real] = each.prediction.boxes, each.prediction.scores
        labels[row, real] = each.prediction.labels
        names[row, real] = [name.encode() for name in each.prediction.class_names]
        segmentations[row, real] = each.segmentations
    return {
        "count": np.array([[len(each.prediction)] for each in found], np.int32),
        "image_size": np.array(sizes, np.int32),
        "boxes": boxes,
        "scores": scores,
        "labels": labels,
        "class_names": names,
        "segmentations": segmentations,
    }


def _segmentations(prediction: Prediction, wanted: Wanted) -> list[bytes]:
    if wanted.response == "rle":
        return [rle["counts"] for rle in prediction.rles]
    if wanted.response == "polygons":
        return [
            json.dumps([part.ravel().tolist() for part in parts], separators=(",", ":")).encode()
            for parts in prediction.polygons()
        ]
    # As bytes they would make an answer in JSON invalid: the server writes them as they are.
    return [base64.b64encode(_bilevel_png(rle)) for rle in prediction.rles]


def _bilevel_png(rle: RLE) -> bytes:
    """A mask as a PNG of 1 bit a pixel, white where the object is."""
    height, width = rle["size"]
    # One at a time: all masks of a large photo take gigabytes.
    mask = decode([rle], height, width)[0].astype(np.uint8) * 255
    written, data = cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_BILEVEL, 1])
    if not written:
        raise UserError(f"OpenCV makes no PNG of a mask of {height}x{width} pixels; ask for response rle")
    return data.tobytes()


def render(item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> Found:
    """What :class:`refinemask.streaming.pipeline.Pipeline` makes of each image, beside the other work."""
    assert isinstance(item, AskedImage)
    return found_in(prediction, item.wanted)
