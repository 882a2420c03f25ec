"""The checks of what goes into an engine and of what a file says about itself."""

import numpy as np
import pytest
import torch

from engines.base import check_inputs
from refinemask.contract import Bounds, InputError

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
        (torch.ones(1, 3, 64, 64, requires_grad=True), [[64, 64]], "tensors in host memory: .*requires grad"),
        ([[1, 2], [3]], [[64, 64]], "NumPy arrays or tensors in host memory"),
        (images(1, 3, 64, 64), [[64], [1, 2]], "NumPy arrays or tensors in host memory"),
        (images(1, 3, 64, 64), [[float("nan"), 64]], "float64"),
        (images(1, 3, 64, 64), np.ones((1, 2), "timedelta64[s]"), "timedelta64"),
        (images(1, 3, 64, 64), np.array([[2**64 - 1, 64]], np.uint64), "between 1"),
        (images(1, 3, 64, 64), [[2**64, 64]], "expected int64"),
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
