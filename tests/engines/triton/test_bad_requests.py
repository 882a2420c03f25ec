"""What a request may get wrong is an HTTP 400 with one line, and the next request is answered."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.engines.triton.conftest import Pictures
from tests.engines.triton.test_front import assert_same
from tests.support.image_files import chunk
from tests.support.triton_reference import Reference
from tests.support.triton_requests import Input, Reply, array_input, ask, image_input, post, text_input
from tests.support.triton_server import Server

BOMB = (
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")
)
PIXELS = np.zeros((1, 40, 50, 3), np.uint8)


def bad_requests(good: bytes) -> dict[str, tuple[list[Input], dict[str, object], str]]:
    """By name: inputs, parameters, and a part of the error's line."""
    pixels = array_input("pixels", "UINT8", PIXELS)
    image = image_input(good)
    return {
        "zero bytes": ([image_input(b"")], {}, "image: the file is empty"),
        "text": ([text_input("no picture at all")], {}, "no base64"),
        "text in base64": ([image_input(b"no picture at all")], {}, "not an image of a known format"),
        "a truncated JPEG": ([image_input(good[: len(good) // 2])], {}, "image: the image is truncated"),
        "a bomb": ([image_input(BOMB)], {}, "too large to decode safely"),
        "one of three": ([image_input(good, b"", good)], {}, "image 2 of 3: the file is empty"),
        "both inputs": ([image, pixels], {}, "both of the inputs image and pixels"),
        "no input": ([], {}, "0 inputs"),
        "another type": ([array_input("pixels", "FP32", PIXELS.astype(np.float32))], {}, "data-type is 'FP32'"),
        "four channels": ([array_input("pixels", "UINT8", np.zeros((1, 9, 9, 4), np.uint8))], {}, "unexpected shape"),
        "no batch": ([array_input("pixels", "UINT8", PIXELS[0, :16])], {}, "unexpected shape"),
        "no pixel": ([array_input("pixels", "UINT8", PIXELS[:, :0])], {}, "pixels: is uint8 [0, 50, 3]"),
        "too large for the model": ([array_input("pixels", "UINT8", np.zeros((17, 1, 1, 3), np.uint8))], {}, "batch"),
        "a shape of many images": ([image | {"shape": [2**62, 1]}], {}, "another shape than [B, 1]"),
        "an unknown response": ([image], {"response": "contours"}, "expected rle, polygons, masks"),
        "a response that is no text": ([image], {"response": 3}, "expected rle, polygons, masks"),
        "an unknown parameter": ([image], {"respons": "rle"}, "did you mean 'response'?"),
        "a threshold below": ([image], {"score_threshold": 0.1}, "expected 0.7, the model's own, to 1"),
        "a threshold above": ([image], {"score_threshold": 2}, "expected 0.7, the model's own, to 1"),
        "a threshold that is none": ([image], {"score_threshold": "nan"}, "expected 0.7, the model's own, to 1"),
        "a threshold that is true": ([image], {"score_threshold": True}, "expected 0.7, the model's own, to 1"),
        "an unknown input": ([image | {"name": "picture"}], {}, "picture"),
    }  # fmt: skip


NAMES = tuple(bad_requests(b""))


def assert_refused(reply: Reply, part: str) -> None:
    assert reply.status == 400, reply
    assert part in reply.error
    assert "\n" not in reply.error
    assert "Traceback" not in reply.error


@pytest.mark.parametrize("name", NAMES)
def test_is_refused_and_the_next_is_answered(
    name: str, served: Server, pictures: Pictures, references: list[Reference]
) -> None:
    good = pictures.jpeg.read_bytes()
    inputs, parameters, part = bad_requests(good)[name]
    assert_refused(ask(served, "tiny", inputs, **parameters), part)
    assert_same(ask(served, "tiny", [image_input(good)]), [references[0]])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xd8\xff", b'{"inputs": 3}'])
def test_no_request_at_all(body: bytes, served: Server, pictures: Pictures, references: list[Reference]) -> None:
    """The server itself refuses what is no JSON; it calls that its own error."""
    assert post(served, "tiny", body).status in (400, 500)
    assert_same(ask(served, "tiny", [image_input(pictures.jpeg.read_bytes())]), [references[0]])


def test_network(served: Server, tiny_files: tuple[Path, Path]) -> None:
    """The bare network refuses what does not fit it, and answers what does."""
    import engines

    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 96), np.uint8)
    sizes = np.array([[64, 96], [40, 60]], np.int64)
    pair = lambda images, sizes: [array_input("images", "UINT8", images), array_input("image_sizes", "INT64", sizes)]  # noqa: E731
    assert_refused(ask(served, "tiny_network", pair(images, sizes * 2)), "must lie between 1 and the padded size")
    assert_refused(ask(served, "tiny_network", pair(images[..., :90], sizes)), "multiples of 32")
    reply = ask(served, "tiny_network", pair(images, sizes))
    assert reply.error == ""
    expected = engines.load(tiny_files[1], threads=1).infer(images, sizes)
    assert reply.outputs["num_detections"].ravel().tolist() == expected.num_detections.tolist()
    for name, array in expected._asdict().items():
        assert reply.outputs[name].dtype == array.dtype
        np.testing.assert_allclose(reply.outputs[name].reshape(array.shape), array, atol=1e-4, rtol=1e-4)
