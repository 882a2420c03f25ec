"""What the tests of the engines share."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.host_kernels import build_cache, host_functions, host_kernels, host_library, schedule
from tests.support.toy_onnx import METADATA, write_toy_onnx

__all__ = ["build_cache", "host_functions", "host_kernels", "host_library", "schedule"]


@pytest.fixture
def toy_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Writes the toy file with the metadata given by keyword."""
    return partial(write_toy_onnx, tmp_path / "toy.onnx")


@pytest.fixture
def metadata() -> dict[str, str]:
    """The metadata properties of the toy file."""
    return dict(METADATA)


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    """Two images, 64 × 96, of which the second is valid to 50 × 80 only."""
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    return images, np.array([[64, 96], [50, 80]], np.int64)
