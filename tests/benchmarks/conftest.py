"""A toy engine file and a few pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import engines
from tests.support.compiled_package import package_cache, tiny_package
from tests.support.found_again import write_annotations
from tests.support.toy_onnx import write_toy_onnx

__all__ = ["package_cache", "tiny_package"]


@pytest.fixture
def toy_onnx(tmp_path: Path) -> Path:
    bounds = {"batch": [1, 1, 4], "height": [32, 800, 800], "width": [32, 800, 1344]}
    return write_toy_onnx(tmp_path / "toy.onnx", bounds=json.dumps(bounds))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Four pictures, 40 × 60, in a directory of their own."""
    directory = tmp_path / "pictures"
    directory.mkdir()
    noise = np.random.default_rng(2)
    paths = [directory / f"{number}.png" for number in range(4)]
    for path in paths:
        cv2.imwrite(str(path), noise.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return paths


@pytest.fixture
def annotations(tmp_path: Path, pictures: list[Path], toy_onnx: Path) -> Path:
    """The engine's own detections as COCO annotations, but moved by five pixels in the first of the four pictures."""
    return write_annotations(engines.load(toy_onnx, threads=1), pictures, tmp_path / "annotations.json")
