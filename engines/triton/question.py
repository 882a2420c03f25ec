"""What a request asks: its images, and how it wants the masks. Knows nothing of Triton. Imports no PyTorch."""

import base64
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from engines.triton.interface import IMAGE, PARAMETERS, PIXELS, RESPONSE, RESPONSES, SCORE_THRESHOLD, Response
from refinemask.config import Window
from refinemask.contract import InputError
from refinemask.data.images import decode_image
from refinemask.foreign import one_line
from refinemask.json_files import parse_json, short
from refinemask.nearest import nearest
from refinemask.sources.pixels import rgb_of_array

BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]+")
SEEN = 64
"""Bytes by which base64 is told from an image file: the header of every kind of image has others among them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a request wants its answer."""

    response: Response
    """How masks are answered."""
    score_threshold: float
    """Score above which a detection counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedImage:
    """An image of a request; see :class:`refinemask.sources.item.Item`."""

    name: str
    data: bytes | NDArray[np.uint8]
    """An image file, which may be base64 text, or pixels [h, w, 3] RGB."""
    wanted: Wanted
    place = PurePosixPath("image")
    path = video = index = seconds = None

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        """Decode it; see :meth:`refinemask.sources.item.Item.read`."""
        if isinstance(self.data, np.ndarray):
            return rgb_of_array(self.name, self.data, window)
        return decode_image(self.name, file_of(self.name, self.data), window)


def ask(
    image: NDArray[np.object_] | None, pixels: NDArray[np.uint8] | None, parameters: str, default: Wanted
) -> list[AskedImage]:
    """The images of a request.

    Args:
        image: [B, 1] bytes; None if the request has none.
        pixels: [B, H, W, 3] RGB; None if the request has none.
        parameters: the request's parameters as JSON, or nothing.
        default: what the request wants where it does not say, with the lowest threshold that it may name.

    Raises:
        InputError: there is not exactly one input, its shape is another, or a parameter is misspelt or not possible.
    """
    wanted = _wanted(parameters, default)
    if (image is None) == (pixels is None):
        found = "neither" if image is None else "both"
        raise InputError(f"the request has {found} of the inputs {IMAGE} and {PIXELS}; expected one of them")
    if image is not None and image.ndim != 2:
        # The server multiplies shapes in 32 bits, and lets pass some that are too large.
        raise InputError(f"the input {IMAGE} has {image.size} texts and another shape than [B, 1]")
    name, datas = (IMAGE, image[:, 0]) if image is not None else (PIXELS, pixels)
    assert datas is not None
    count = len(datas)
    return [
        AskedImage(name=name if count == 1 else f"{name} {number} of {count}", data=data, wanted=wanted)
        for number, data in enumerate(datas, 1)
    ]


def file_of(name: str, data: bytes) -> bytes:
    """The bytes of an image file, which may have come as base64 text.

    Raises:
        InputError: they are text, and no base64.
    """
    if not BASE64.fullmatch(data[:SEEN]):
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except ValueError as error:
        raise InputError(
            f"{name}: is text, but no base64 ({error}); expected an image file, or one in base64"
        ) from error


def _wanted(parameters: str, default: Wanted) -> Wanted:
    try:
        given = parse_json(parameters) if parameters else {}
    except ValueError as error:
        raise InputError(f"the request's parameters are no JSON: {one_line(error)}") from error
    for name in given:
        # A server that forwards headers gives them as parameters: what is no misspelling is none of ours.
        if name not in PARAMETERS and (hint := nearest(name, PARAMETERS)):
            raise InputError(f"parameter {short(name)}: expected {' or '.join(PARAMETERS)}{hint}")
    response = given.get(RESPONSE, default.response)
    if response not in RESPONSES:
        raise InputError(f"parameter {RESPONSE} is {short(response)}; expected {', '.join(RESPONSES)}")
    return Wanted(response=response, score_threshold=_threshold(given.get(SCORE_THRESHOLD), default.score_threshold))


def _threshold(given: object, least: float) -> float:
    if given is None:
        return least
    try:
        # Older servers take no fractions but as text.
        threshold = float(given) if isinstance(given, str | int | float) and not isinstance(given, bool) else np.nan
    except (ValueError, OverflowError):
        threshold = np.nan
    if not least <= threshold <= 1:
        raise InputError(f"parameter {SCORE_THRESHOLD} is {short(given)}; expected {least:g}, the model's own, to 1")
    return threshold
