"""Image files that neither Pillow nor OpenCV writes, made by hand."""

import struct
import zlib
from typing import Any, Literal

import numpy as np

NUMBERS = {"u": 1, "i": 2, "f": 3, "c": 6}
"""TIFF's SampleFormat by NumPy's kind of a type."""
SHORT, LONG = 3, 4
PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type by the number of channels."""


def tiff(
    pixels: np.ndarray,
    *,
    endian: Literal["<", ">"] = "<",
    photometric: int | None = None,
    planar: bool = False,
    **tags: Any,
) -> bytes:
    """An uncompressed TIFF of one picture [h, w] or [h, w, channels] of any type.

    Args:
        pixels: the picture.
        endian: ``<`` or ``>``.
        photometric: PhotometricInterpretation; None is RGB from three channels on, or black is zero.
        planar: whether the channels follow each other.
        tags: ``_274=6`` sets or replaces the tag 274.
    """
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(endian))
    planes = [stored[..., index] for index in range(channels)] if planar else [stored]
    data = [plane.tobytes() for plane in planes]
    rgb = photometric == 2 or (photometric is None and channels >= 3)
    entries: dict[int, tuple[int, list[int]]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * pixels.dtype.itemsize] * channels),
        259: (SHORT, [1]),
        262: (SHORT, [photometric if photometric is not None else 2 if rgb else 1]),
        273: (LONG, [0] * len(data)),
        277: (SHORT, [channels]),
        278: (LONG, [height]),
        279: (LONG, [len(plane) for plane in data]),
        284: (SHORT, [2 if planar else 1]),
        339: (SHORT, [NUMBERS[pixels.dtype.kind]] * channels),
    }
    if extra := channels - (3 if rgb else 1):
        entries[338] = SHORT, [2] + [0] * (extra - 1)
    entries |= {int(name[1:]): (SHORT, list(np.atleast_1d(value))) for name, value in tags.items()}
    behind = 8 + 2 + 12 * len(entries) + 4
    start = behind + sum(size for kind, values in entries.values() if (size := kind_size(kind) * len(values)) > 4)
    entries[273] = LONG, [start + sum(map(len, data[:index])) for index in range(len(data))]
    directory, overflow = struct.pack(endian + "H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        value = struct.pack(f"{endian}{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        if len(value) > 4:
            value, overflow = struct.pack(endian + "I", behind + len(overflow)), overflow + value
        directory += struct.pack(endian + "HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    header = (b"II" if endian == "<" else b"MM") + struct.pack(endian + "HI", 42, 8)
    return header + directory + bytes(4) + overflow + b"".join(data)


def kind_size(kind: int) -> int:
    """Bytes of a value."""
    return 2 if kind == SHORT else 4


def png(pixels: np.ndarray, *, before: bytes = b"") -> bytes:
    """A PNG of a picture [h, w] or [h, w, channels] of 8 or 16 bits, with chunks ``before`` its pixels."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, PNG_COLOURS[channels], 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
