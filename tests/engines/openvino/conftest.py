"""What the tests of OpenVINO's engine share."""

from pathlib import Path

import numpy as np
import pytest

from refinemask.bundled import PHOTOS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from tests.support.quantised_file import write_int8
from tests.support.tiny_detector import TINY


@pytest.fixture(scope="session")
def int8_file(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny export with all layers quantised that are in a real file."""
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    return write_int8(tiny_files[1], tmp_path_factory.mktemp("int8") / "tiny-int8.onnx")


@pytest.fixture(scope="session")
def photos() -> tuple[np.ndarray, np.ndarray]:
    """Two photographs as one batch."""
    batch = preprocess([read_image(path) for path in sorted(PHOTOS.rglob("*.jpg"))[:2]], TINY.preprocessing)
    return batch.images, batch.image_sizes
