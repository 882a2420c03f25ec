"""What the tests of OpenVINO's engine share."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from export.qdq import insert_qdq, kept_layers, layers
from refinemask.bundled import PHOTOS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from tests.support.tiny_detector import TINY

RANGE = 12.0
"""Largest magnitude that is kept of every input."""


@pytest.fixture(scope="session")
def int8_file(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny export with all layers quantised that are in a real file."""
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    model, path = ir.load(tiny_files[1]), tmp_path_factory.mktemp("int8") / "tiny-int8.onnx"
    kept = kept_layers(model.graph)
    insert_qdq(model.graph, {name: RANGE for name in layers(model.graph) if name not in kept}, "int8")
    model.metadata_props["precision"] = "int8"
    ir.save(model, path)
    return path


@pytest.fixture(scope="session")
def photos() -> tuple[np.ndarray, np.ndarray]:
    """Two photographs as one batch."""
    batch = preprocess([read_image(path) for path in sorted(PHOTOS.rglob("*.jpg"))[:2]], TINY.preprocessing)
    return batch.images, batch.image_sizes
