"""A server's Python backend that misreads the installed NumPy is refused."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.triton.sound_backend import require_sound_backend
from refinemask.files import UserError


class Tensor:
    """A tensor as the backend has it: its own array, or memory that it reads with strides of its own."""

    step = 1

    def __init__(self, name: str, array: np.ndarray) -> None:
        self.array = array

    def to_dlpack(self) -> np.ndarray:
        return self.array

    @classmethod
    def from_dlpack(cls, name: str, memory: np.ndarray) -> "Tensor":
        strides = tuple(stride * cls.step for stride in memory.strides)
        return cls(name, np.lib.stride_tricks.as_strided(memory, memory.shape, strides).copy())

    def as_numpy(self) -> np.ndarray:
        return self.array


class TensorOfNumPy1(Tensor):
    """What the server 2.51 makes of NumPy 2: items without a size."""

    step = 0


def backend(tensor: type[Tensor]) -> Any:
    return SimpleNamespace(Tensor=tensor)


def test_a_right_one() -> None:
    require_sound_backend(backend(Tensor))


def test_a_wrong_one() -> None:
    assert (TensorOfNumPy1("", np.ones(2)).as_numpy() == 1).all()
    with pytest.raises(UserError, match=r"does not work with NumPy .* pip install 'numpy<2'"):
        require_sound_backend(backend(TensorOfNumPy1))
