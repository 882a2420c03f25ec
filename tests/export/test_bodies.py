"""The operators' bodies, run by ONNX Runtime, against the eager operators."""

from collections.abc import Mapping
from typing import Any

import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor

from export.bodies import function_bodies
from export.bodies.roi_align import OUTSIDE
from refinemask.contract import DOMAIN, PLUGIN_ATTRIBUTES
from refinemask.ops import (
    boundary_merge,
    fixed_nms,
    label_logits,
    multilevel_roi_align,
    roi_align_channels,
    upsampled_label_logits,
)
from tests.support.tolerances import TOLERANCES

ALL_CHANNELS = {"channel_begin": 0, "channels": 0}
TYPES = {torch.float32: TensorProto.FLOAT, torch.float16: TensorProto.FLOAT16, torch.int32: TensorProto.INT32}


def one_operator(name: str, inputs: Mapping[str, Tensor], **attributes: Any) -> onnx.ModelProto:
    """One operator as a model of its own, of dynamic shapes."""
    (function,) = (f for f in function_bodies(20) if f.name == name)
    shapes = {"boxes": [None, None, 4], "rois": [None, 5]}
    values = [
        helper.make_tensor_value_info(key, TYPES[x.dtype], shapes.get(key, [None] * x.ndim))
        for key, x in inputs.items()
    ]
    results = [helper.make_value_info(f"out{index}", onnx.TypeProto()) for index in range(len(function.outputs))]
    outputs = [result.name for result in results]
    node = helper.make_node(name, list(inputs), outputs, domain=DOMAIN, **attributes, **PLUGIN_ATTRIBUTES)
    return helper.make_model(
        helper.make_graph([node], "one_operator", values, results),
        functions=[ir.to_proto(function)],
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)],
        ir_version=10,
    )


def run(name: str, inputs: Mapping[str, Tensor], **attributes: Any) -> list[Tensor]:
    """Run one operator in ONNX Runtime."""
    model = one_operator(name, inputs, **attributes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(x) for x in session.run(None, {key: x.numpy() for key, x in inputs.items()})]


@pytest.fixture
def pyramid() -> list[Tensor]:
    """P2..P5 of two images of 256 × 320."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 256 // stride, 320 // stride, generator=generator) for stride in (4, 8, 16, 32)]


@pytest.fixture
def rois() -> Tensor:
    """Boxes of every level, on the bounds between them, outside the image and flat."""
    generator = torch.Generator().manual_seed(1)
    corner = 300 * torch.rand(60, 2, generator=generator) - 40
    size = torch.logspace(0, 2.7, 60)[:, None] * (0.5 + torch.rand(60, 2, generator=generator))
    bounds = torch.tensor([[0.0, 0, s, s] for s in (56, 112, 111.99999, 224, 448, 896)])
    odd = torch.tensor([[10.0, 10, 10, 90], [5, 5, 5, 5], [-900, -900, -800, -850]])
    boxes = torch.cat([torch.cat([corner, corner + size], dim=1), bounds, odd])
    return torch.cat([torch.arange(len(boxes))[:, None] % 2, boxes], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("levels", [4, 1])
def test_roi_align(pyramid: list[Tensor], rois: Tensor, levels: int, dtype: torch.dtype) -> None:
    features = [feature.to(dtype) for feature in pyramid[:levels]]
    inputs = {**{f"f{level}": x for level, x in enumerate(features)}, "rois": rois}
    whole = ALL_CHANNELS if levels == 1 else {}
    (pooled,) = run(f"MultilevelRoIAlign{levels}", inputs, output_size=7, sampling_ratio=0, finest_scale=56, **whole)
    assert pooled.dtype == dtype
    tolerance = TOLERANCES["exact in float32"]
    expected = multilevel_roi_align(features, rois, 7, 0, 56)
    torch.testing.assert_close(pooled, expected, atol=tolerance.absolute, rtol=tolerance.relative)


def test_roi_align_fixed_samples(pyramid: list[Tensor], rois: Tensor) -> None:
    """Then boxes without area have samples, too."""
    attributes = {"output_size": 5, "sampling_ratio": 2, "finest_scale": 56, **ALL_CHANNELS}
    (pooled,) = run("MultilevelRoIAlign1", {"f0": pyramid[0], "rois": rois}, **attributes)
    tolerance = TOLERANCES["exact in float32"]
    expected = multilevel_roi_align(pyramid[:1], rois, 5, 2, 56)
    torch.testing.assert_close(pooled, expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize(("begin", "channels"), [(0, 2), (1, 1), (2, 5), (6, 1)])
def test_roi_align_of_some_channels(rois: Tensor, begin: int, channels: int) -> None:
    """Bit for bit those of a map that has no others."""
    joint = torch.randn(2, 7, 64, 80, generator=torch.Generator().manual_seed(0))
    pooling = {"output_size": 7, "sampling_ratio": 0, "finest_scale": 56}
    inputs = {"f0": joint, "rois": rois}
    (pooled,) = run("MultilevelRoIAlign1", inputs, **pooling, channel_begin=begin, channels=channels)
    alone = {"f0": joint[:, begin : begin + channels].contiguous(), "rois": rois}
    assert torch.equal(pooled, *run("MultilevelRoIAlign1", alone, **pooling, **ALL_CHANNELS))
    expected = roi_align_channels(joint, rois, begin, channels, *pooling.values())
    tolerance = TOLERANCES["exact in float32"]
    torch.testing.assert_close(pooled, expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_box_outside_survives_rounding(dtype: torch.dtype) -> None:
    box = torch.tensor(OUTSIDE)
    assert torch.equal(box.to(dtype).float(), box)
    assert box[2:].max() / 32 < -1, "within a pixel of the border samples are not zero"


def test_roi_align_when_levels_stay_empty(pyramid: list[Tensor]) -> None:
    rois = torch.tensor([[0, 10.0, 10, 60, 50], [1, 0, 0, 30, 40]])
    inputs = {**{f"f{level}": x for level, x in enumerate(pyramid)}, "rois": rois}
    (pooled,) = run("MultilevelRoIAlign4", inputs, output_size=3, sampling_ratio=0, finest_scale=56)
    torch.testing.assert_close(pooled, multilevel_roi_align(pyramid, rois, 3, 0, 56))


def clustered_boxes(groups: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    centre = 40 * torch.randint(0, 5, (groups, count, 2), generator=generator).float()
    centre = centre + 12 * torch.randn(groups, count, 2, generator=generator)
    size = 15 + 30 * torch.rand(groups, count, 2, generator=generator)
    return torch.cat([centre - size / 2, centre + size / 2], dim=2), torch.rand(groups, count, generator=generator)


def with_ties() -> tuple[Tensor, Tensor]:
    boxes, scores = clustered_boxes(2, 120)
    return boxes, (scores * 8).floor() / 8


def with_padding() -> tuple[Tensor, Tensor]:
    boxes, scores = clustered_boxes(3, 60)
    scores[0, ::3], scores[1, ::4], scores[1, 1::4], scores[2] = -1.0, float("nan"), -1e-3, -1.0
    scores[0, 1::9] = 0.0
    return boxes, scores


def chain() -> tuple[Tensor, Tensor]:
    """Every box overlaps the next alone: greedy NMS keeps every other one, decided one after the other."""
    left = 4.0 * torch.arange(50)
    return torch.stack([left, torch.zeros(50), left + 10, torch.ones(50)], dim=1)[None], torch.linspace(1, 0.5, 50)[
        None
    ]


def degenerate() -> tuple[Tensor, Tensor]:
    boxes, scores = clustered_boxes(1, 40)
    boxes[0, ::2, 2:] = boxes[0, ::2, :2]
    boxes[0, 1::4] = boxes[0, 1]
    return boxes, scores


CASES = {
    "clustered": (clustered_boxes(3, 150), 150),
    "best few": (clustered_boxes(3, 150), 20),
    "k above N": (clustered_boxes(2, 30), 45),
    "ties": (with_ties(), 100),
    "padding": (with_padding(), 50),
    "chain": (chain(), 50),
    "degenerate": (degenerate(), 40),
}


@pytest.mark.parametrize("case", CASES)
def test_fixed_nms(case: str) -> None:
    (boxes, scores), k = CASES[case]
    for threshold in (0.3, 0.7):
        expected = fixed_nms(boxes, scores, threshold, k)
        result = run("FixedNMS", {"boxes": boxes, "scores": scores}, iou_threshold=threshold, k=k)
        assert 0 < expected[1].max() <= boxes.shape[1]
        torch.testing.assert_close(result, list(expected), rtol=0, atol=0)


def test_boundary_merge() -> None:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.nn.functional.interpolate(torch.randn(8, 1, 5, 5, generator=generator), size=28, mode="bicubic")
    coarse[0], coarse[1], coarse[2, :, 3:9, 3:9] = 1.0, -1.0, -2e-8
    fine = torch.randn(8, 1, 56, 56, generator=generator)
    (merged,) = run("BoundaryMerge", {"coarse": coarse, "fine": fine})
    expected = boundary_merge(coarse, fine)
    assert ((merged == fine) == (expected == fine)).all()
    tolerance = TOLERANCES["exact in float32"]
    torch.testing.assert_close(merged, expected, atol=tolerance.absolute, rtol=tolerance.relative)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("rows", [7, 1])
@pytest.mark.parametrize("mask_channels", [0, 1, 2])
def test_label_logits(mask_channels: int, rows: int, dtype: torch.dtype) -> None:
    """Of one row all labels are served."""
    generator = torch.Generator().manual_seed(4)
    maps = {"features": torch.randn(5, 12, 6, 6, generator=generator)}
    if mask_channels:
        maps = {"coarse": maps["features"], "masks": torch.rand(5, mask_channels, 12, 12, generator=generator)}
    weight = torch.randn(rows, 12 + mask_channels, generator=generator) / 4
    inputs = {key: x.to(dtype) for key, x in {**maps, "weight": weight, "bias": torch.randn(rows)}.items()}
    inputs["labels"] = torch.tensor([6, 0, 3, 1, 6], dtype=torch.int32)
    (logits,) = run("UpsampledLabelLogits" if mask_channels else "LabelLogits", inputs)
    assert logits.dtype == torch.float32
    expected = (upsampled_label_logits if mask_channels else label_logits)(*inputs.values())
    tolerance = TOLERANCES[f"label logits {str(dtype).removeprefix('torch.')}"]
    torch.testing.assert_close(logits, expected, atol=tolerance.absolute, rtol=tolerance.relative)
