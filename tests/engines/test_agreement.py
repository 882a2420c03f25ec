"""Every engine on the same exported file gives the detections of PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import engines
from export.qdq import insert_qdq, kept_layers, layers
from refinemask.agreement import match
from refinemask.contract import INPUTS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.structures import Detections
from tests.support.detections import assert_near_detections
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


def test_int8_is_computed_as_it_is_written(
    tiny_files: tuple[Path, Path], photos: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """ONNX Runtime's integer kernels would round more than the file says."""
    model, path = ir.load(tiny_files[1]), tmp_path / "int8.onnx"
    kept = kept_layers(model.graph)
    insert_qdq(model.graph, {name: 12.0 for name in layers(model.graph) if name not in kept}, "int8")
    ir.save(model, path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    expected = Detections(*session.run(list(Detections._fields), dict(zip(INPUTS, photos, strict=True))))
    found = engines.load(path, threads=1).infer(*photos)
    np.testing.assert_array_equal(found.num_detections, expected.num_detections)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=TOLERANCES["engine scores"].absolute)


def test_bf16_keeps_coordinates_in_fp32(tiny_files: tuple[Path, Path], photos: tuple[np.ndarray, np.ndarray]) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("needs a CPU with AVX512_BF16 or AMX")
    from engines.openvino_engine import executed_precisions

    _, onnx = tiny_files
    exact: Any = engines.load(onnx, backend="openvino", precision="fp32", threads=1)
    coarse: Any = engines.load(onnx, backend="openvino", precision="bf16", threads=1)
    assert executed_precisions(exact.model) == ({"f32"}, {"f32"})
    assert executed_precisions(coarse.model) == ({"bf16"}, {"f32"})
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
