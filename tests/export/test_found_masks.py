"""Files whose mask head computes the detections found, not every place (``--masks found``)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

import engines
from benchmarks.harness.random_detector import randomize
from export import to_onnx
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import found_places
from refinemask.weights import save_detector
from tests.support.tiny_detector import TINY
from tests.support.tolerances import TOLERANCES

PHOTOS = Path(__file__).resolve().parents[2] / "demo" / "photos"
PLACES = 60


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny RefineMask with many places, and its file."""
    directory = tmp_path_factory.mktemp("found")
    checkpoint, onnx = directory / "tiny.safetensors", directory / "tiny.onnx"
    config = replace(TINY, box_head=replace(TINY.box_head, detections=PLACES, score_threshold=0.6))
    save_detector(randomize(Detector(config), seed=0), checkpoint, recipe="tiny")
    args = to_onnx.Args(checkpoint=checkpoint, output=onnx, masks="found", verify_images=PHOTOS)
    assert to_onnx.main(args) == 0
    return checkpoint, onnx


@pytest.mark.parametrize(
    ("counts", "places", "expected"),
    [([0], 100, 8), ([1], 100, 8), ([8], 100, 8), ([9], 100, 16), ([3, 20], 100, 24), ([97], 100, 100), ([2], 4, 4)],
)
def test_places_hold_the_detections_of_every_image(counts: list[int], places: int, expected: int) -> None:
    assert found_places(torch.tensor(counts), places) == expected


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_equals_pytorch_and_leaves_out_padding(files: tuple[Path, Path], backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    checkpoint, onnx = files
    reference, engine = engines.load(checkpoint), engines.load(onnx, backend=backend, threads=1)
    random = np.random.default_rng(0)
    counts = set()
    for batch, height, width in ((1, 32, 32), (1, 64, 128), (2, 64, 96)):
        images = random.integers(0, 256, (batch, 3, height, width), dtype=np.uint8)
        sizes = np.array([[height, width], [32, 32]])[:batch]
        expected, found = reference.infer(images, sizes), engine.infer(images, sizes)
        np.testing.assert_array_equal(found.num_detections, expected.num_detections)
        real = np.arange(PLACES) < expected.num_detections[:, None]
        far = np.abs(found.masks - expected.masks) > TOLERANCES["engine masks"].absolute
        assert far[real].mean() < TOLERANCES["mask pixels that changed sides"].absolute
        computed = found_places(torch.from_numpy(expected.num_detections), PLACES)
        assert found.masks[:, :computed].any(axis=(2, 3)).all(), "a computed mask is nowhere exactly zero"
        assert not found.masks[:, computed:].any()
        counts.add(computed)
    assert len(counts) > 1, "one file, several numbers of masks"
    assert min(counts) < PLACES


def test_only_the_shapes_of_the_mask_head_depend_on_the_image(files: tuple[Path, Path]) -> None:
    model = ir.load(files[1])
    assert model.metadata_props["masks"] == "found"
    outputs = {value.name: list(map(str, value.shape or ())) for value in model.graph.outputs}
    assert outputs["masks"] == ["batch", str(PLACES), "112", "112"]
    convolutions = {node.name: str(node.outputs[0].shape) for node in model.graph if node.op_type == "Conv"}
    of_rois = {name for name, shape in convolutions.items() if "Max(" in shape}
    assert of_rois
    assert all(str(name).startswith("mask_head.") for name in of_rois)
