"""What the Python plugins hand to the kernels, with stand-ins for TensorRT's objects and the kernels on the CPU; and
their creators in the registry of TensorRT 11 itself."""

import re
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from refinemask.contract import DOMAIN, OPERATORS, PLUGIN_ATTRIBUTES
from refinemask.ops import (
    boundary_merge,
    fixed_nms,
    label_logits,
    multilevel_roi_align,
    top_k,
    upsampled_label_logits,
)
from tests.support.tolerances import TOLERANCES
from trt_plugins.c_api import Kernels
from trt_plugins.python_plugin import (
    BoundaryMerge,
    FixedNMS,
    LabelLogits,
    MultilevelRoIAlign1,
    MultilevelRoIAlign4,
    SelectProposals,
    TopScores,
    UpsampledLabelLogits,
    base,
    register,
)
from trt_plugins.python_plugin.fixed_nms import fixed_nms_workspace
from trt_plugins.python_plugin.select_proposals import select_proposals_workspace
from trt_plugins.python_plugin.top_scores import top_k_workspace
from trt_plugins.torch_kernels import TorchKernels

TRT = SimpleNamespace(
    float32="float32",
    float16="float16",
    bfloat16="bfloat16",
    int32="int32",
    TensorFormat=SimpleNamespace(LINEAR=0, HWC8=1),
)


def plugin(logic: type, **attributes: Any) -> Any:
    made = logic()
    made.trt, made.attributes = TRT, attributes
    return made


def enqueue(made: Any, inputs: list[Tensor], outputs: list[Tensor], workspace: int = 0, format: int = 0) -> None:
    def describe(tensor: Tensor) -> SimpleNamespace:
        return SimpleNamespace(dims=tuple(tensor.shape), type=str(tensor.dtype).removeprefix("torch."), format=format)

    addresses = [[tensor.data_ptr() for tensor in tensors] for tensors in (inputs, outputs)]
    made.enqueue([*map(describe, inputs)], [*map(describe, outputs)], *addresses, workspace, 0)


@pytest.fixture(autouse=True)
def _kernels_on_the_cpu(host_kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_kernels", lambda: host_kernels)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_roi_align(layout: torch.memory_format) -> None:
    maps = [torch.randn(2, 8, 64 >> i, 96 >> i).half().contiguous(memory_format=layout) for i in range(4)]
    rois = torch.tensor([[0, 5, 5, 60, 80], [0, 0, 0, 380, 250], [1, 9, 9, 30, 30], [1, 0, 0, 250, 250]]).float()
    pooled = torch.empty(4, 8, 7, 7, dtype=torch.float16, memory_format=layout)
    made = plugin(MultilevelRoIAlign4, output_size=7, sampling_ratio=0, finest_scale=56)
    enqueue(made, [*maps, rois], [pooled], format=int(layout is torch.channels_last))
    expected = multilevel_roi_align(maps, rois, 7, 0, 56)
    tolerance = TOLERANCES["roi_align float16"]
    torch.testing.assert_close(pooled, expected, atol=tolerance.absolute, rtol=2 * tolerance.relative)


@pytest.mark.parametrize("shape", [(6, 4), (6, 6), (6,), (6, 5, 1)], ids=str)
def test_rois_that_are_not_r_5_are_refused(shape: tuple[int, ...]) -> None:
    made = plugin(MultilevelRoIAlign1, output_size=7, sampling_ratio=0, finest_scale=56, channel_begin=0, channels=0)
    maps = SimpleNamespace(dims=(2, 8, 20, 24), max=(2, 8, 20, 24))
    for call in (made.configure_plugin, made.on_shape_change):
        call([maps, SimpleNamespace(dims=(6, 5), max=(6, 5))], [])
        with pytest.raises(ValueError, match=rf"rois are {re.escape(str(list(shape)))}; expected \[R, 5\]"):
            call([maps, SimpleNamespace(dims=shape, max=shape)], [])


POOLING = {"output_size": 7, "sampling_ratio": 0, "finest_scale": 56}


@pytest.mark.parametrize(("begin", "channels"), [(8, 13), (0, 5), (16, 5), (0, 0)])
@pytest.mark.parametrize("layout", [0, 1], ids=["linear", "HWC8"])
def test_channels_of_a_joint_map(layout: int, begin: int, channels: int) -> None:
    """Of two images; TensorRT stores 21 channels as 24 in its format HWC8."""
    joint = torch.randn(2, 21, 32, 48).half()
    rois = torch.tensor([[0, 5, 5, 60, 80], [1, 9, 9, 30, 30], [1, 0, 0, 120, 100.0]])
    wanted = joint[:, begin : begin + channels] if channels else joint
    stored, pooled = joint, torch.empty(3, wanted.shape[1], 7, 7, dtype=torch.float16)
    if layout:
        stored = torch.full((2, 32, 48, 24), torch.nan, dtype=torch.float16)
        stored[..., :21] = joint.permute(0, 2, 3, 1)
        pooled = torch.empty(3, 7, 7, -(-wanted.shape[1] // 8) * 8, dtype=torch.float16)
    made = plugin(MultilevelRoIAlign1, **POOLING, channel_begin=begin, channels=channels)
    described = SimpleNamespace(dims=tuple(joint.shape), type="float16", format=layout)
    boxes = SimpleNamespace(dims=(3, 5), type="float32", format=0)
    made.enqueue([described, boxes], [], [stored.data_ptr(), rois.data_ptr()], [pooled.data_ptr()], 0, 0)
    found = pooled.permute(0, 3, 1, 2)[:, : wanted.shape[1]] if layout else pooled
    tolerance = TOLERANCES["roi_align float16"]
    expected = multilevel_roi_align([wanted], rois, 7, 0, 56)
    torch.testing.assert_close(found, expected, atol=tolerance.absolute, rtol=2 * tolerance.relative)


def test_channels_that_no_vector_begins_with_are_read_planar() -> None:
    joint, other = (plugin(MultilevelRoIAlign1, **POOLING, channel_begin=begin, channels=4) for begin in (8, 12))
    tensors = [SimpleNamespace(desc=SimpleNamespace(type="float16", format=format)) for format in (0, 1)]
    for made, takes_interleaved in ((joint, True), (other, False)):
        assert made.supports_format_combination(0, tensors, 2)
        assert made.supports_format_combination(0, tensors[1:], 2) is takes_interleaved


def test_channels_that_the_map_does_not_have_are_refused() -> None:
    made = plugin(MultilevelRoIAlign1, **POOLING, channel_begin=8, channels=4)
    rois = SimpleNamespace(dims=(6, 5), max=(6, 5))
    for shape, fits in (((2, 12, 20, 24), True), ((2, 11, 20, 24), False)):
        maps = SimpleNamespace(dims=shape, max=shape)
        for call in (made.configure_plugin, made.on_shape_change):
            if fits:
                call([maps, rois], [])
                continue
            with pytest.raises(ValueError, match=r"map f0 is \[2, 11, 20, 24\]; expected at least 12 channels"):
                call([maps, rois], [])


def test_fixed_nms() -> None:
    low = torch.rand(2, 90, 2) * 50
    boxes, scores = torch.cat([low, low + 20], dim=2), torch.rand(2, 90)
    indices, num_kept = torch.empty(2, 30, dtype=torch.int32), torch.empty(2, dtype=torch.int32)
    workspace = torch.empty(fixed_nms_workspace(2, 90) + 256, dtype=torch.uint8)
    made = plugin(FixedNMS, iou_threshold=0.5, k=30)
    enqueue(made, [boxes, scores], [indices, num_kept], -(-workspace.data_ptr() // 256) * 256)
    expected = fixed_nms(boxes, scores, 0.5, 30)
    assert torch.equal(indices, expected[0])
    assert torch.equal(num_kept, expected[1])


def test_boundary_merge() -> None:
    coarse, fine = torch.randn(3, 1, 14, 14), torch.randn(3, 1, 28, 28)
    merged = torch.empty_like(fine)
    enqueue(plugin(BoundaryMerge), [coarse, fine], [merged])
    tolerance = TOLERANCES["boundary merge"]
    expected = boundary_merge(coarse, fine)
    torch.testing.assert_close(merged, expected, atol=tolerance.absolute, rtol=tolerance.relative)


def aligned(size: int) -> tuple[Tensor, int]:
    """Memory, and where it has ``size`` bytes from a multiple of 256 on."""
    memory = torch.empty(size + 256, dtype=torch.uint8)
    return memory, -(-memory.data_ptr() // 256) * 256


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_select_proposals(host_kernels: Kernels, layout: torch.memory_format) -> None:
    """Of maps whose channels fill whole vectors, so that both layouts are PyTorch's own."""
    maps = [torch.randn(2, 40, 32 >> i, 48 >> i).half().contiguous(memory_format=layout) for i in range(5)]
    anchors, sizes = torch.randn(5, 8, 4), torch.tensor([[120.0, 180.0], [100.0, 90.0]])
    boxes, scores = torch.empty(10, 50, 4), torch.empty(10, 50)
    made = plugin(SelectProposals, k=50)
    described = [SimpleNamespace(dims=each.shape, max=each.shape) for each in (*maps, anchors, sizes)]
    made.configure_plugin(described, [])
    made.on_shape_change(described, [])
    _memory, workspace = aligned(made.get_workspace_size(described, []))
    enqueue(made, [*maps, anchors, sizes], [boxes, scores], workspace, int(layout is torch.channels_last))
    expected = TorchKernels(host_kernels).select_proposals(maps, anchors, sizes, 50)
    assert torch.equal(boxes, expected[0])
    assert torch.equal(scores, expected[1])


@pytest.mark.parametrize(
    ("position", "shape", "message"),
    [
        (3, (2, 15, 4), r"map m3 is \[2, 15, 4\]; expected \[2, 5A, H, W\]"),
        (1, (3, 15, 4, 4), r"map m1 is \[3, 15, 4, 4\]; expected \[2, 5A, H, W\]"),
        (5, (5, 4, 4), r"base_anchors are \[5, 4, 4\]; expected \[5, 3, 4\]"),
        (6, (2, 3), r"image_sizes are \[2, 3\]; expected \[2, 2\] \(height, width\)"),
    ],
)
def test_shapes_that_are_not_proposals_are_refused(position: int, shape: tuple[int, ...], message: str) -> None:
    shapes = [*[(2, 15, 4, 4)] * 5, (5, 3, 4), (2, 2)]
    shapes[position] = shape
    described = [SimpleNamespace(dims=each, max=each) for each in shapes]
    for call in (plugin(SelectProposals, k=50).configure_plugin, plugin(SelectProposals, k=50).on_shape_change):
        with pytest.raises(ValueError, match=f"SelectProposals: {message}"):
            call(described, [])


def test_top_scores() -> None:
    scores = torch.randn(3, 6000).mul(50).round()
    values, indices = torch.empty(3, 70), torch.empty(3, 70, dtype=torch.int32)
    made = plugin(TopScores, k=70)
    _memory, workspace = aligned(made.get_workspace_size([SimpleNamespace(max=(3, 6000))], []))
    enqueue(made, [scores], [values, indices], workspace)
    expected = top_k(scores, 70)
    assert torch.equal(values, expected[0])
    assert torch.equal(indices.long(), expected[1])
    with pytest.raises(ValueError, match="TopScores: k is 70 for rows of 60 scores; expected at most these and 4096"):
        made.get_workspace_size([SimpleNamespace(max=(3, 60))], [])


R50_LEVELS = (200, 336), (100, 168), (50, 84), (25, 42), (13, 21)


@pytest.mark.parametrize("sizes", [R50_LEVELS, [(3, 4)] * 5, [(60, 30), *[(1, 1)] * 4]], ids=str)
@pytest.mark.parametrize(("batch", "anchors", "k"), [(1, 3, 1000), (8, 3, 1000), (2, 1, 1), (3, 5, 4096)])
def test_the_workspace_of_proposals_is_the_library_s(
    host_kernels: Kernels, sizes: list[tuple[int, int]], batch: int, anchors: int, k: int
) -> None:
    found = select_proposals_workspace(sizes, batch, anchors, k)
    assert found == host_kernels.select_proposals_workspace(sizes, batch=batch, num_anchors=anchors, k=k) > 0
    lengths = [max(height * width * anchors, k) for height, width in sizes]
    assert top_k_workspace(batch, lengths, k) == host_kernels.top_k_segments_workspace(
        groups=batch, lengths=lengths, k=k
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_label_logits(layout: torch.memory_format) -> None:
    features = torch.randn(3, 8, 6, 6).half().contiguous(memory_format=layout)
    weight, bias, labels = torch.randn(5, 8).half(), torch.randn(5).half(), torch.tensor([4, 0, 2]).int()
    logits, expected = torch.empty(3, 1, 6, 6), label_logits(features, weight, bias, labels)
    enqueue(plugin(LabelLogits), [features, weight, bias, labels], [logits], format=int(layout is torch.channels_last))
    tolerance = TOLERANCES["label logits float16"]
    torch.testing.assert_close(logits, expected, atol=4 * tolerance.absolute, rtol=tolerance.relative)


def test_upsampled_label_logits() -> None:
    coarse, masks, bias = torch.randn(3, 8, 6, 6), torch.rand(3, 2, 12, 12), torch.randn(5)
    weight, labels, logits = torch.randn(5, 10) / 4, torch.tensor([4, 0, 2]).int(), torch.empty(3, 1, 12, 12)
    enqueue(plugin(UpsampledLabelLogits), [coarse, masks, weight, bias, labels], [logits])
    tolerance = TOLERANCES["label logits float32"]
    expected = upsampled_label_logits(coarse, masks, weight, bias, labels)
    torch.testing.assert_close(logits, expected, atol=tolerance.absolute, rtol=tolerance.relative)


def test_a_weight_of_other_columns_is_refused() -> None:
    dims = [(3, 8, 6, 6), (3, 2, 12, 12), (5, 10), (5,), (3,)]
    for call in (plugin(UpsampledLabelLogits).configure_plugin, plugin(UpsampledLabelLogits).on_shape_change):
        call([SimpleNamespace(dims=each, max=each) for each in dims], [])
        with pytest.raises(ValueError, match=r"weight is \[5, 8\] for 10 channels; expected as many columns"):
            call([SimpleNamespace(dims=each, max=each) for each in [*dims[:2], (5, 8), *dims[3:]]], [])


@pytest.mark.parametrize(("groups", "boxes"), [(1, 1), (5, 1000), (2, 3840), (3, 64), (1, 0)])
def test_the_workspace_is_the_library_s(host_kernels: Kernels, groups: int, boxes: int) -> None:
    assert fixed_nms_workspace(groups, boxes) == host_kernels.fixed_nms_workspace(groups, boxes)


class Registering:
    """What ``register`` uses of TensorRT: the interfaces, fields, and a registry that takes every creator."""

    IPluginCreatorV3One, IPluginV3, IPluginV3OneCore, IPluginV3OneBuild, IPluginV3OneRuntime = (
        type(f"Interface{index}", (), {}) for index in range(5)
    )
    PluginFieldType = SimpleNamespace(INT32=int, FLOAT32=float)
    PluginField = staticmethod(lambda name, data, type: (name, type))
    PluginFieldCollection = dict
    get_plugin_registry = staticmethod(lambda: SimpleNamespace(register_creator=lambda creator, namespace: True))


def test_the_operators_are_those_of_the_contract() -> None:
    creators = register(Registering)
    assert [(creator.name, creator.field_names) for creator in creators] == [(*each,) for each in OPERATORS]
    version = PLUGIN_ATTRIBUTES["plugin_version"]
    assert {(each.plugin_namespace, each.plugin_version) for each in creators} == {(DOMAIN, version)}


IN_TENSORRT_11 = """
import numpy as np, tensorrt_lean as trt
from trt_plugins.python_plugin import register
from trt_plugins.python_plugin.base import NAMESPACE, VERSION

TWO_OUTPUTS = {"FixedNMS", "SelectProposals", "TopScores"}
keep = register(trt)
registry = trt.get_plugin_registry()
for name, given in (
    ("MultilevelRoIAlign4", {"output_size": 7, "sampling_ratio": 2, "finest_scale": 56}),
    (
        "MultilevelRoIAlign1",
        {"output_size": 14, "sampling_ratio": 0, "finest_scale": 56, "channel_begin": 64, "channels": 32},
    ),
    ("FixedNMS", {"iou_threshold": 0.5, "k": 100}),
    ("BoundaryMerge", {}),
    ("SelectProposals", {"k": 1000}),
    ("TopScores", {"k": 100}),
    ("LabelLogits", {}),
    ("UpsampledLabelLogits", {}),
):
    creator = registry.get_creator(name, VERSION, NAMESPACE)
    assert [field.name for field in creator.field_names] == list(given), name
    kinds = {int: (np.int32, trt.PluginFieldType.INT32), float: (np.float32, trt.PluginFieldType.FLOAT32)}
    fields = [trt.PluginField(key, np.array([x], kinds[type(x)][0]), kinds[type(x)][1]) for key, x in given.items()]
    built = creator.create_plugin(name, trt.PluginFieldCollection(fields), trt.TensorRTPhase.BUILD)
    recreated = creator.create_plugin(name, built.get_fields_to_serialize(), trt.TensorRTPhase.RUNTIME)
    assert recreated.attributes == given, (name, recreated.attributes)
    assert (recreated.num_outputs, recreated.plugin_namespace) == (2 if name in TWO_OUTPUTS else 1, NAMESPACE)
    identity = " ".join([name, *(f"{key}={value}" for key, value in given.items())])
    assert built.timing_cache_id == recreated.timing_cache_id == built.clone().timing_cache_id == identity
    if name == "MultilevelRoIAlign4":
        assert built.get_output_data_types([trt.float16] * 4 + [trt.float32]) == [trt.float16]
        try:
            built.get_output_data_types([trt.float16] * 5)
        except ValueError as error:
            assert "rois are HALF; expected float32" in str(error)
        else:
            raise AssertionError("half precision RoIs were accepted")
    if name == "MultilevelRoIAlign1":
        older = creator.create_plugin(name, trt.PluginFieldCollection(fields[:3]), trt.TensorRTPhase.BUILD)
        assert older.attributes == given | {"channel_begin": 0, "channels": 0}, older.attributes
        assert creator.create_plugin(name, trt.PluginFieldCollection(fields[1:]), trt.TensorRTPhase.BUILD) is None
print("TensorRT", trt.__version__.split(".")[0])
"""


@pytest.mark.tensorrt
@pytest.mark.skipif(find_spec("tensorrt_lean") is None, reason="needs tensorrt-lean-cu13: pip install -e '.[lean]'")
def test_tensorrt_11_creates_and_recreates_them() -> None:
    """In a process of its own: its runtime and that of TensorRT-RTX do not share one."""
    result = subprocess.run([sys.executable, "-c", IN_TENSORRT_11], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "TensorRT 11\n"
