"""Messages of protocol buffers as they lie on the disk; an ONNX file is one."""

import mmap
from collections.abc import Iterator

Data = mmap.mmap | bytes

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""


def fields(data: Data, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of bytes in a message; the others are stepped over.

    Args:
        data: bytes that hold the message.
        start: where it begins.
        end: where it ends.

    Raises:
        ValueError: it is cut or damaged.
    """
    while start < end:
        tag, start = _varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        size = 0
        if wire == _VARINT:
            _, start = _varint(data, start, end)
        elif wire == _BYTES:
            size, start = _varint(data, start, end)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"at byte {start} is no field")
        # Readers keep 32 bits of a tag, so that a longer one would be another field to them.
        if number == 0 or tag >> 32 or size > end - start:
            raise ValueError(f"cut or damaged at byte {start}")
        if wire == _BYTES:
            yield number, start, start + size
        start += size


def _varint(data: Data, start: int, end: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for index, position in enumerate(range(start, min(end, start + 10))):
        byte = data[position]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + 1
    raise ValueError(f"cut or damaged at byte {start}")
