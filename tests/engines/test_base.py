"""The checks of what goes into an engine and of what a file says about itself."""

import json

import numpy as np
import pytest
import torch

from engines.base import check_inputs, read_metadata
from export.bounds import Bounds, InputError
from refinemask.files import UserError

LIMITS = Bounds(batch=(1, 1, 2), height=(64, 800, 800), width=(64, 1344, 1344))


def images(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    ("batch", "sizes", "message"),
    [
        (np.zeros((1, 3, 64, 64), np.float32), [[64, 64]], "float32; expected uint8"),
        (images(3, 64, 64), [[64, 64]], r"\[3, 64, 64\]; expected \[B, 3, H, W\]"),
        (images(1, 64, 64, 3), [[64, 64]], r"transpose\(0, 3, 1, 2\)"),
        (images(1, 3, 65, 64), [[64, 64]], "multiples of 32"),
        (images(0, 3, 64, 64), np.zeros((0, 2), np.int64), "at least one image"),
        (images(1, 3, 64, 64), [[64.0, 64.0]], "float64"),
        (images(2, 3, 64, 64), [[64, 64]], r"expected int64 \[2, 2\]"),
        (images(1, 3, 64, 96), [[96, 64]], "padded size 64x96"),
        (images(1, 3, 64, 64), [[0, 64]], "between 1"),
        (images(3, 3, 64, 64), [[64, 64]] * 3, "batch 3, but this file was exported for a batch of 1 to 2"),
        (images(1, 3, 832, 64), [[64, 64]], "height of 64 to 800"),
        (images(1, 3, 64, 32), [[32, 32]], "width of 64 to 1344"),
    ],
)
def test_wrong_inputs_are_named(batch: np.ndarray, sizes: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_inputs(batch, sizes, LIMITS)


def test_accepts_tensors_other_integers_and_strided_arrays() -> None:
    strided = np.arange(64 * 96 * 3, dtype=np.uint8).reshape(1, 64, 96, 3).transpose(0, 3, 1, 2)
    checked, sizes = check_inputs(strided, torch.tensor([[64, 90]], dtype=torch.int32), None)
    assert checked.flags.c_contiguous
    assert sizes.dtype == np.int64
    np.testing.assert_array_equal(checked, strided)
    np.testing.assert_array_equal(sizes, [[64, 90]])


def test_static_bounds_say_the_one_size() -> None:
    static = Bounds(batch=(1, 1, 1), height=(800, 800, 800), width=(1344, 1344, 1344))
    assert static.canvas(1333, 800) == (800, 1344)
    with pytest.raises(InputError, match="height of 800:"):
        static.check((1, 3, 1344, 1344))


@pytest.mark.parametrize(
    ("size", "canvas"), [((50, 65), (64, 96)), ((20, 1000), (64, 1024)), ((800, 1333), (800, 1344))]
)
def test_canvas_is_the_smallest_that_holds_the_image(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert LIMITS.canvas(*size) == canvas


def test_canvas_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="1333x800 does not fit: this file takes a height up to 800"):
        LIMITS.canvas(1333, 800)


def test_metadata_round_trip(metadata: dict[str, str]) -> None:
    read = read_metadata(metadata, "m.onnx")
    assert read.config.class_names == ("nucleus",)
    assert read.bounds.height == tuple(json.loads(metadata["bounds"])["height"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": None}, "m.onnx: not a RefineMask export: its metadata lacks config"),
        ({"config": "{}"}, "m.onnx: unreadable"),
        ({"bounds": "[]"}, "m.onnx: unreadable"),
        ({"bounds": '{"batch": [1, 1, 1]}'}, "m.onnx: unreadable"),
    ],
)
def test_foreign_metadata_is_refused(metadata: dict[str, str], change: dict[str, str | None], message: str) -> None:
    properties = {name: value for name, value in (metadata | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        read_metadata(properties, "m.onnx")
