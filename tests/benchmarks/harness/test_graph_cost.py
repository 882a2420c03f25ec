"""Counting work: products by hand, detectors by PyTorch's own counter, the published architecture by arithmetic."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness.graph_cost import count, flops_by_part
from export.model import to_onnx
from refinemask.config import FCNMaskConfig, HTCConfig, MaskHeadConfig, PointRendConfig, RefineMaskConfig
from refinemask.contract import Bounds
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import ExportedDetector
from tests.support.tiny_detector import TINY

PRODUCTS = """
<ir_version: 10, opset_import: ["" : 20]>
products (float[2,4,6,8] x) => (float[3,7] y)
<float[2,6,3,4] convolved, float[2,6,3,4] activated, float[2,5,6,8] enlarged, float[480,2] flat, float[2,3] hidden,
 int64[2] shape = {480, 2}>
{
    convolved = Conv <group: int = 2, strides: ints = [2, 2], pads: ints = [1, 1, 1, 1]> (x, detector__a__conv__weight)
    activated = Relu (convolved)
    enlarged = ConvTranspose <strides: ints = [2, 2]> (activated, detector__a__up__weight)
    flat = Reshape (enlarged, shape)
    hidden = Gemm <transA: int = 1> (flat, detector__b__fc__weight, detector__b__fc__bias)
    y = Gemm <transA: int = 1> (hidden, merged)
}
"""
WEIGHTS = {
    "detector.a.conv.weight": (6, 2, 3, 3),
    "detector.a.up.weight": (6, 5, 2, 2),
    "detector.b.fc.weight": (480, 3),
    "detector.b.fc.bias": (3,),
    "merged": (2, 7),
}


@pytest.fixture
def products() -> onnx.ModelProto:
    """A grouped convolution, a transposed one and two products of transposed matrices."""
    model = onnx.parser.parse_model(PRODUCTS)
    for node in model.graph.node:
        # The parser takes no dots in names.
        node.input[:] = [name.replace("__", ".") for name in node.input]
    for name, shape in WEIGHTS.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, directory: Path) -> Path:
    path = directory / "model.onnx"
    onnx.save(model, path)
    return path


def test_products_by_hand(products: onnx.ModelProto, tmp_path: Path) -> None:
    costs = count(save(products, tmp_path))
    convolution, transposed = 2 * (2 * 6 * 3 * 4) * (2 * 3 * 3), 2 * (2 * 6 * 3 * 4) * (5 * 2 * 2)
    first, second = 2 * (2 * 3) * 480, 2 * (3 * 7) * 2
    assert [(cost.op, cost.module, cost.flops) for cost in costs] == [
        ("Conv", "a.conv", convolution),
        ("Relu", "a.conv", 0),
        ("ConvTranspose", "a.up", transposed),
        ("Reshape", "a.up", 0),
        ("Gemm", "b.fc", first),
        ("Gemm", "b.fc", second),
    ]
    assert flops_by_part(costs) == {"a": convolution + transposed, "b": first + second}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda graph: graph.value_info.pop(), "1 tensors have no shape"),
        (
            lambda graph: setattr(graph.input[0].type.tensor_type.shape.dim[2], "dim_param", "h"),
            "--static HEIGHTxWIDTH",
        ),
        (lambda graph: setattr(graph.node[0], "op_type", "ConvInteger"), "ConvInteger is not counted"),
    ],
)
def test_what_cannot_be_counted(
    products: onnx.ModelProto, spoil: Callable[[onnx.GraphProto], object], message: str, tmp_path: Path
) -> None:
    spoil(products.graph)
    path = save(products, tmp_path)
    with pytest.raises(UserError, match=message):
        count(path)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        count(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(UserError, match="not a readable ONNX file"):
        count(tmp_path / "text.onnx")


def export(detector: Detector, height: int, width: int, directory: Path) -> Path:
    bounds = Bounds(batch=(1, 1, 1), height=(height,) * 3, width=(width,) * 3)
    return save(ir.to_proto(to_onnx(detector, bounds)), directory)


@pytest.mark.parametrize(
    "head",
    [
        PointRendConfig(),
        HTCConfig(),
        pytest.param(FCNMaskConfig(), marks=pytest.mark.slow),
        RefineMaskConfig(),
    ],
    ids=lambda head: head.kind,
)
def test_whole_detectors_as_pytorch_counts_them(
    head: MaskHeadConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(replace(TINY, mask_head=head)).eval()
    flops = flops_by_part(count(export(detector, 64, 96, tmp_path)))
    # Eagerly, RefineMask's semantic branch is computed only near RoIs.
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ExportedDetector(detector)(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), torch.tensor([[64, 96]]))
    assert sum(flops.values()) == counter.get_total_flops()
    context = ["context"] if isinstance(head, HTCConfig) else []
    assert list(flops) == ["backbone", "fpn", *context, "rpn", "box_head", "mask_head"]


def refinemask_head(p2: int, rois: int) -> int:
    """Operations of the published head as it is arranged here, by arithmetic (256 channels, 80 classes).

    Less than the 633.6 GFLOP of the plain arrangement: only the label's logits are computed, and what reads upsampled
    features (1×1 convolutions) does so before they are upsampled.
    """
    semantic = p2 * (4 * 9 * 256 * 256 + 256 * (256 + 128 + 64 + 1))
    instance = rois * 14 * 14 * (2 * 9 * 256 * 256 + 256)
    stages = 0
    for index, (size, c) in enumerate(((14, 256), (28, 128), (56, 64))):
        pixels = rois * size * size
        # In the first stage the features have this size, and no masks come with them.
        features, masks = (pixels * c * c, 2) if index == 0 else (pixels // 4 * (c - 2) * c, 4)
        stages += features + pixels * c * (2 * c + masks + 3 * 9 * c + c + c // 2 - 2)
        stages += pixels * (c // 2 - 2) + 4 * pixels * 2
    return 2 * (semantic + instance + stages)


@pytest.mark.slow
def test_published_architecture(tmp_path: Path) -> None:
    from benchmarks.random_weights import Args, main
    from refinemask.weights import load_detector

    heads: dict[str, FCNMaskConfig | RefineMaskConfig]
    heads = {"refinemask": RefineMaskConfig(), "mask-rcnn": FCNMaskConfig()}
    counted = {}
    for name, head in heads.items():
        path = tmp_path / f"{name}.safetensors"
        assert main(Args(output=path, mask_head=head)) == 0
        counted[name] = flops_by_part(count(export(load_detector(path), 800, 1344, tmp_path)))
    gflops = {key: round(flops / 1e9, 1) for key, flops in counted["mask-rcnn"].items()}
    # The plain FCN head needs 106.0 GFLOP, of which 3.2 are logits of all 80 classes and 0.04 those of one.
    assert gflops == {"backbone": 175.2, "fpn": 121.8, "rpn": 106.3, "box_head": 28.6, "mask_head": 102.8}
    head_flops = counted["refinemask"]["mask_head"]
    assert head_flops == refinemask_head(200 * 336, 100) == 617_838_513_600
    others = [{key: flops for key, flops in parts.items() if key != "mask_head"} for parts in counted.values()]
    assert others[0] == others[1]
