"""The PyTorch reference behind the common interface."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import engines
from refinemask.files import UserError
from refinemask.structures import Detections
from refinemask.weights import save_detector
from tests.support.tiny_detector import TINY, make_tiny_detector


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_equals_the_detector(checkpoint: Path, batch: tuple[np.ndarray, np.ndarray]) -> None:
    engine = engines.load(checkpoint, threads=1)
    assert (engine.name, engine.precision, engine.device, engine.config) == ("PyTorch", "fp32", "cpu", TINY)
    found = engine.infer(*batch)
    with torch.inference_mode():
        expected = make_tiny_detector()(*map(torch.from_numpy, batch)).numpy()
    assert 0 < expected.num_detections.min() < 12, "real and padded detections both must occur"
    for name, ours, theirs in zip(Detections._fields, found, expected, strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_any_size_is_accepted(checkpoint: Path) -> None:
    engine = engines.load(checkpoint, threads=1)
    assert engine.canvas([(40, 60)]) is None
    assert engine.infer(np.zeros((1, 3, 32, 160), np.uint8), [[20, 150]]).masks.shape == (1, 12, 112, 112)


def test_threads_are_set(checkpoint: Path) -> None:
    engines.load(checkpoint, threads=1)
    assert torch.get_num_threads() == 1


def test_refuses_what_it_cannot_do(checkpoint: Path) -> None:
    with pytest.raises(UserError, match=r"tiny\.safetensors: eager PyTorch runs in fp32, .*; 'int8' needs an exported"):
        engines.load(checkpoint, precision="int8")
    for precision, reason in (("tf32", "is a type of GPUs"), ("fp16", "more slowly than fp32")):
        with pytest.raises(UserError, match=rf"{precision} does not run on a CPU: .*{reason}.*--device cuda"):
            engines.load(checkpoint, precision=precision)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="PyTorch sees no GPU"):
            engines.load(checkpoint, device="cuda")
    with pytest.raises(UserError, match="backend 'onnxruntime' cannot run it; expected pytorch"):
        engines.load(checkpoint, backend="onnxruntime")
