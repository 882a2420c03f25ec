"""Label maps: pictures in which every value is an object of its own, and 0 is background."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.masks import RLE, compress
from refinemask.readable import require_readable

SUFFIXES = {".png", ".tif", ".tiff"}
"""Endings, in lower case, of files that label maps are read from: formats that lose nothing."""
MOST_COLOURS = 10_000
"""Colours of a label map. A photograph has more."""
_VALUES = {"1", "L", "P", "I", "I;16", "I;16L", "I;16B"}
_COLOURS = {"RGB", "RGBA"}
_PNG, _PNG_DEPTH = b"\x89PNG", 24


def read_label_map(path: Path) -> NDArray[np.integer[Any]]:
    """The values [h, w] of a label map.

    Grey values and places in a palette are taken as they are, as uint8 or uint16 where the file has 8 or 16 bits. A
    colour is the number ``65536 red + 256 green + blue`` as int32; alpha is dropped.

    Raises:
        UserError: the file cannot be read, or is no label map.
    """
    require_readable(path)
    try:
        with path.open("rb") as file:
            start = file.read(_PNG_DEPTH + 1)
        with Image.open(path) as picture:
            mode, frames = picture.mode, getattr(picture, "n_frames", 1)
            if mode in _VALUES | _COLOURS and frames == 1:
                pixels = np.asarray(picture)
    except Exception as error:  # Pillow's readers raise a dozen kinds.
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    if frames != 1:
        raise UserError(f"{path}: holds {frames} pictures, expected one label map")
    if mode not in _VALUES | _COLOURS:
        raise UserError(f"{path}: is of mode {mode}, expected one channel of 8 or 16 bits, or colours")
    if mode in _VALUES:
        if pixels.dtype != np.bool_ and pixels.min(initial=0) < 0:
            raise UserError(f"{path}: has the value {pixels.min()}, expected 0 for background and more for objects")
        # Some versions of Pillow read 16 bits into 32.
        small = np.uint8 if mode == "1" else np.uint16 if pixels.max(initial=0) >> 16 == 0 else pixels.dtype
        return pixels if pixels.dtype == np.uint8 else pixels.astype(small)
    # Pillow cuts the colours of such a file to 8 bits, and would join objects.
    if start.startswith(_PNG) and start[_PNG_DEPTH:] == b"\x10":
        raise UserError(f"{path}: has colours of 16 bits, expected colours of 8 bits or one channel of 16")
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    values = red << 16 | green << 8 | blue
    if (count := len(np.unique(values))) > MOST_COLOURS:
        raise UserError(f"{path}: has {count} colours like a photograph, expected a label map: one colour an object")
    return values


def value_masks(label_map: NDArray[np.integer[Any]]) -> Iterator[tuple[int, RLE]]:
    """Each value of a map [h, w], ascending, with the run-length encoding of its pixels.

    The runs of all values come from one pass over the map. The strings are those of ``pycocotools.mask.encode``.
    """
    pixels = label_map.ravel(order="F")
    starts = np.flatnonzero(np.concatenate([[True], pixels[1:] != pixels[:-1]]))
    stops = np.append(starts[1:], pixels.size)
    values = pixels[starts]
    by_value = np.argsort(values, kind="stable")
    groups = np.split(by_value, np.flatnonzero(values[by_value][1:] != values[by_value][:-1]) + 1)
    for mine in groups:
        edges = np.stack([starts[mine], stops[mine]], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=pixels.size)
        if edges[-1] == pixels.size:
            counts = counts[:-1]
        height, width = label_map.shape
        yield int(values[mine[0]]), compress(counts, height, width)
