"""Requests that a front model must refuse, as bodies of HTTP, ever different ones.

What is no JSON, or JSON with fewer numbers than its shape says, is missing: Triton's own parser answers to that with a
status of 500, before any model sees it.
"""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np

LARGE = 30_000
"""Pixels of the side of a picture that its file only promises."""


def bad_requests(number: int, picture: bytes, jpeg: bytes) -> Iterator[tuple[str, bytes]]:
    """So many requests, each with its name: all kinds in turn, with other bytes each time.

    Args:
        number: how many.
        picture: a good image file.
        jpeg: a good JPEG, of which parts are sent.
    """
    random = np.random.default_rng(20)
    kinds = _kinds(picture, jpeg, random)
    rounds = ((name, make()) for _ in count() for name, make in kinds.items())
    return islice(rounds, number)


def good_request(data: bytes) -> bytes:
    """The body of a request with an image file."""
    return _body(_image([_base64(data)]))


def _kinds(picture: bytes, jpeg: bytes, random: np.random.Generator) -> dict[str, Callable[[], bytes]]:
    good = _base64(picture)
    return {
        "no bytes": lambda: _body(_image([""])),
        "text": lambda: _body(_image([f"this is no picture, {random.integers(1 << 30)}!"])),
        "noise": lambda: _body(_image([_base64(random.bytes(int(random.integers(1, 5000))))])),
        "a part of a JPEG": lambda: _body(_image([_base64(jpeg[: int(random.integers(3, len(jpeg) * 9 // 10))])])),
        "a part of a PNG": lambda: _body(_image([_base64(picture[: int(random.integers(8, len(picture) - 12))])])),
        "a bomb": lambda: _body(_image([_base64(_bomb(LARGE + int(random.integers(1000))))])),
        "floats": lambda: _body(_pixels("FP32", [1, 2, 2, 3], random.random(12).tolist())),
        "four channels": lambda: _body(_pixels("UINT8", [1, 2, 2, 4], random.integers(0, 255, 16).tolist())),
        "no channels": lambda: _body(_pixels("UINT8", [1, 2, 6], random.integers(0, 255, 12).tolist())),
        "pixels without a pixel": lambda: _body(_pixels("UINT8", [1, 0, 4, 3], [])),
        "both inputs": lambda: _body(_image([good]), _pixels("UINT8", [1, 2, 2, 3], [0] * 12)),
        "no input": lambda: _body(),
        "another input": lambda: _body({**_image([good]), "name": f"picture{random.integers(99)}"}),
        "a response that is none": lambda: _body(_image([good]), parameters={"response": f"svg{random.integers(99)}"}),
        "a misspelt parameter": lambda: _body(_image([good]), parameters={f"respons{random.integers(9)}": "rle"}),
        "a threshold that is none": lambda: _body(_image([good]), parameters={"score_threshold": "high"}),
        "a threshold below the model's": lambda: _body(_image([good]), parameters={"score_threshold": "0.0001"}),
        "one of two": lambda: _body(_image([good, _base64(random.bytes(99))])),
        "more images than a batch": lambda: _body(_image([good] * 17)),
        "an output that is none": lambda: _body(_image([good]), outputs=[{"name": f"pose{random.integers(99)}"}]),
    }


def _image(texts: list[str]) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [len(texts), 1], "data": texts}


def _pixels(datatype: str, shape: list[int], values: list[float]) -> dict[str, Any]:
    return {"name": "pixels", "datatype": datatype, "shape": shape, "data": values}


def _body(*inputs: dict[str, Any], **rest: Any) -> bytes:
    return json.dumps({"inputs": inputs} | rest).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bomb(side: int) -> bytes:
    """A PNG of few bytes that promises ``side`` × ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1 << 16), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
