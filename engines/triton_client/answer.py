"""What a front model answers, and the predictions that it stands for."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.triton.interface import Response
from refinemask.coco_strings import fill_image
from refinemask.config import ModelConfig
from refinemask.contract import LARGEST_SIDE
from refinemask.masks import RLE, compress, polygon_rle, run_lengths
from refinemask.outputs import OutputError, check_real
from refinemask.prediction import Prediction

OUTPUTS = ("count", "image_size", "boxes", "scores", "labels", "segmentations")
"""Outputs that a prediction is made of. The names of the classes stand in the configuration."""
LAYOUT = {
    "count": ("int32", (1, 1)),
    "image_size": ("int32", (1, 2)),
    "scores": ("float32", (1, "N")),
    "boxes": ("float32", (1, "N", 4)),
    "labels": ("int32", (1, "N")),
    "segmentations": ("object", (1, "N")),
}
"""Type and shape of each output of a request of one image; N is the number of its places, that of the scores."""


def prediction_of(
    answer: Mapping[str, NDArray[Any]], response: Response, config: ModelConfig, path: Path | None
) -> Prediction:
    """The prediction that the answer to a request of one image stands for.

    Args:
        answer: the arrays of :data:`OUTPUTS`.
        response: what the answer has of each mask.
        config: configuration of the detector.
        path: the image's file, if it has one.

    Raises:
        OutputError: the answer is none of a front model of this project.
    """
    _check_layout(answer)
    count = int(answer["count"][0, 0])
    height, width = (int(side) for side in answer["image_size"][0])
    places = answer["scores"].shape[1]
    if not 0 <= count <= places or not 0 < height < LARGEST_SIDE or not 0 < width < LARGEST_SIDE:
        raise OutputError(f"its answer has {count} of {places} objects in an image of {height}x{width} pixels")
    boxes, scores = answer["boxes"][0, :count], answer["scores"][0, :count]
    labels = answer["labels"][0, :count].astype(np.int64)
    check_real(0, config.num_classes, labels, boxes=boxes, scores=scores)
    return Prediction(
        path=path,
        height=height,
        width=width,
        boxes=boxes,
        scores=scores,
        labels=labels,
        rles=_rles(answer["segmentations"][0, :count].tolist(), response, height, width),
        config=config,
    )


def _check_layout(answer: Mapping[str, NDArray[Any]]) -> None:
    places = answer["scores"].shape[-1] if answer["scores"] is not None and answer["scores"].ndim else 0
    for name, (dtype, letters) in LAYOUT.items():
        array = answer[name]
        shape = tuple(places if letter == "N" else letter for letter in letters)
        if array is None or array.dtype != dtype or array.shape != shape:
            found = "missing" if array is None else f"{array.dtype} {list(array.shape)}"
            raise OutputError(f"its output {name} is {found}; expected {dtype} {list(shape)}")


def _rles(texts: Sequence[bytes], response: Response, height: int, width: int) -> list[RLE]:
    if response == "rle":
        # The strings go to a library that trusts them.
        if texts and not fill_image(texts, height * width):
            raise OutputError(f"its run lengths do not fill an image of {height}x{width} pixels")
        return [{"size": [height, width], "counts": text} for text in texts]
    read = _from_polygons if response == "polygons" else _from_png
    return [read(text, height, width) for text in texts]


def _from_polygons(text: bytes, height: int, width: int) -> RLE:
    try:
        polygons = [np.asarray(polygon, np.float64) for polygon in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise OutputError(f"its polygons are no JSON list of lists of numbers: {error}") from error
    if any(each.ndim != 1 or each.size < 6 or each.size % 2 or not np.isfinite(each).all() for each in polygons):
        raise OutputError("its polygons are not flat lists of at least three points")
    if not polygons:
        return compress(np.array([height * width]), height, width)
    return _with_usual_string(polygon_rle(polygons, height, width))


def _from_png(data: bytes, height: int, width: int) -> RLE:
    try:
        picture = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise OutputError(f"its masks are no base64 text: {error}") from error
    mask = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE) if picture else None
    if mask is None or mask.shape != (height, width):
        raise OutputError(f"its masks are no PNG pictures of {height}x{width} pixels")
    return _of_mask(mask > 0)


def _with_usual_string(rle: RLE) -> RLE:
    """The same mask with the string of ``paste_rle``: without runs that have no pixel."""
    from pycocotools import mask as coco_mask

    return _of_mask(coco_mask.decode(rle).astype(bool))


def _of_mask(mask: NDArray[np.bool_]) -> RLE:
    height, width = mask.shape
    column_major = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(column_major, prepend=False))
    return compress(run_lengths(edges, height * width), height, width)
