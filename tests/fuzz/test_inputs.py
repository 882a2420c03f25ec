"""What goes into an engine: any array is refused in one line, or computes what its plain copy does."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engines
from refinemask.contract import InputError
from tests.fuzz.conftest import Seeds
from tests.support.mutations import refusal
from tests.support.toy_onnx import write_toy_onnx

DTYPES = ("uint8", "int8", "int64", "uint64", "float32", "float64", "bool", "complex64", "timedelta64[s]", "object")


def test_odd_inputs_are_refused_or_computed_as_their_plain_copy(seeds: Seeds, tmp_path: Path) -> None:
    engine = engines.load(write_toy_onnx(tmp_path / "toy.onnx"), threads=1)
    refused = total = 0
    for random in seeds(300):
        total += 1
        images, sizes = _images(random), _sizes(random)
        if refusal(partial(engine.infer, images, sizes)) is None:
            plain = np.array(images, np.uint8), np.array(sizes, np.int64)
            for found, expected in zip(engine.infer(images, sizes), engine.infer(*plain), strict=True):
                np.testing.assert_array_equal(found, expected)
        else:
            refused += 1
            with pytest.raises(InputError):
                engine.infer(images, sizes)
    assert 0.1 < refused / total < 0.9


def _images(random: np.random.Generator) -> Any:
    whole = random.integers(0, 256, (1, 3, 64, 96), dtype=np.uint8)
    kinds = [
        lambda: whole,
        lambda: whole[:, :, ::-1],
        lambda: np.asfortranarray(whole),
        lambda: torch.from_numpy(whole),
        lambda: whole.astype(random.choice(DTYPES[:7])),
        lambda: whole[..., : random.integers(0, 97)],
        lambda: whole.reshape(random.permutation([1, 3, 64, 96])),
        lambda: torch.ones(1, 3, 64, 96, requires_grad=True),
        lambda: [[1, 2], [3]],
        lambda: (None, "", b"x", 5, {})[random.integers(5)],
    ]
    return kinds[0 if random.random() < 0.4 else random.integers(len(kinds))]()


def _sizes(random: np.random.Generator) -> Any:
    sizes = [[int(random.integers(1, 65)), int(random.integers(1, 97))]]
    kinds = [
        lambda: sizes,
        lambda: torch.tensor(sizes, dtype=torch.int32),
        lambda: np.array(sizes, "uint64"),
        lambda: np.array(sizes).astype(random.choice(DTYPES)),
        lambda: [[float("nan"), 64]],
        lambda: [[int(random.choice([-1, 0, 65, 2**31, 2**62])), 96]],
        lambda: [[2**64, 1]],
        lambda: [[64], [1, 2]],
        lambda: sizes * 2,
        lambda: torch.tensor([[64.0, 96.0]], requires_grad=True),
        lambda: (None, "", {})[random.integers(3)],
    ]
    return kinds[0 if random.random() < 0.4 else random.integers(len(kinds))]()
