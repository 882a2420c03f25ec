"""Every engine on the same exported file gives the detections of PyTorch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import engines
from refinemask.agreement import match
from refinemask.contract import INPUTS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.onnx_session import cpu_session
from refinemask.structures import Detections
from tests.support.detections import assert_near_detections
from tests.support.hidden import without
from tests.support.quantised_file import write_int8
from tests.support.tiny_detector import TINY
from tests.support.tolerances import TOLERANCES

PHOTOS = Path(__file__).resolve().parents[2] / "demo" / "photos" / "images"


@pytest.fixture(scope="module")
def photos() -> tuple[np.ndarray, np.ndarray]:
    """A landscape and a portrait photograph as one batch."""
    images = [read_image(path) for path in sorted(PHOTOS.glob("*.jpg"))]
    upright = next(image for image in images if image.shape[0] > image.shape[1])
    batch = preprocess([images[0], upright], TINY.preprocessing)
    return batch.images, batch.image_sizes


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_fp32_equals_pytorch(
    tiny_files: tuple[Path, Path], photos: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    checkpoint, onnx = tiny_files
    expected = engines.load(checkpoint).infer(*photos)
    found = engines.load(onnx, backend=backend, threads=1).infer(*photos)
    assert_near_detections(found, expected)


@pytest.fixture(scope="module")
def int8_file(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_int8(tiny_files[1], tmp_path_factory.mktemp("int8") / "int8.onnx")


def test_int8_is_verified_as_it_is_written(int8_file: Path, photos: tuple[np.ndarray, np.ndarray]) -> None:
    """ONNX Runtime's own fusion would round more than the file says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(int8_file, options)
    feed = dict(zip(INPUTS, photos, strict=True))
    expected = Detections(*session.run(list(Detections._fields), feed))
    found = Detections(*cpu_session(int8_file, int8_file, 1).run(list(Detections._fields), feed))
    np.testing.assert_array_equal(found.num_detections, expected.num_detections)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=TOLERANCES["engine scores"].absolute)


def test_int8_runs_in_integers(int8_file: Path, photos: tuple[np.ndarray, np.ndarray]) -> None:
    """Codes at the edge of two steps may tip, where a bias is rounded to the step of the sums."""
    feed = dict(zip(INPUTS, photos, strict=True))
    written = Detections(*cpu_session(int8_file, int8_file, 1).run(list(Detections._fields), feed))
    engine: Any = engines.load(int8_file, threads=1)
    assert engine.precision == "int8"
    found = engine.infer(*photos)
    for n in range(len(photos[0])):
        first, second = single(written, n), single(found, n)
        pairs = list(match(first, second))
        assert pairs
        assert len(pairs) >= 0.8 * max(len(first.boxes), len(second.boxes))
        assert np.median([np.abs(first.boxes[i] - second.boxes[j]).max() for i, j in pairs]) < 0.5


def test_int8_names_the_package_that_it_needs(int8_file: Path) -> None:
    code = f"import engines; engines.load({str(int8_file)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=without({"onnx"}), cwd=int8_file.parent, capture_output=True, text=True
    )
    assert "int8.onnx: int8 on a CPU needs onnx, which is not installed; pip install" in done.stderr
    assert done.stderr.rstrip().endswith("or pip install onnx")


def test_bf16_keeps_coordinates_in_fp32(tiny_files: tuple[Path, Path], photos: tuple[np.ndarray, np.ndarray]) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("needs a CPU with AVX512_BF16 or AMX")
    from engines.openvino.executed import executed_layers, roi_precisions

    def executed(network: Any) -> tuple[set[str], set[str]]:
        convolutions = (layer for layer in executed_layers(network) if "Convolution" in layer.kind)
        return {layer.precision for layer in convolutions}, roi_precisions(network)

    _, onnx = tiny_files
    exact: Any = engines.load(onnx, backend="openvino", precision="fp32", threads=1)
    coarse: Any = engines.load(onnx, backend="openvino", precision="bf16", threads=1)
    assert executed(exact.model) == ({"f32"}, {"f32"})
    assert executed(coarse.model) == ({"bf16"}, {"f32"})
    first, second = (single(engine.infer(*photos), 0) for engine in (exact, coarse))
    pairs = list(match(first, second))
    assert len(pairs) >= 0.8 * max(len(first.boxes), len(second.boxes))
    assert np.median([np.abs(first.boxes[i] - second.boxes[j]).max() for i, j in pairs]) < 0.5
    assert np.isfinite(coarse.infer(*photos).masks).all()


def single(detections: Detections, image: int) -> Detections:
    """The detections of one image, without padding."""
    count = detections.num_detections[image]
    boxes, scores, labels, _, masks = (field[image] for field in detections)
    return Detections(boxes[:count], scores[:count], labels[:count], count, masks[:count])
