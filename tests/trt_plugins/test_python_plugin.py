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
from refinemask.ops import boundary_merge, fixed_nms, label_logits, multilevel_roi_align, upsampled_label_logits
from tests.support.tolerances import TOLERANCES
from trt_plugins.c_api import Kernels
from trt_plugins.python_plugin import (
    BoundaryMerge,
    FixedNMS,
    LabelLogits,
    MultilevelRoIAlign1,
    MultilevelRoIAlign4,
    UpsampledLabelLogits,
    base,
    register,
)
from trt_plugins.python_plugin.fixed_nms import fixed_nms_workspace

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
    made = plugin(MultilevelRoIAlign1, output_size=7, sampling_ratio=0, finest_scale=56)
    maps = SimpleNamespace(dims=(2, 8, 20, 24), max=(2, 8, 20, 24))
    for call in (made.configure_plugin, made.on_shape_change):
        call([maps, SimpleNamespace(dims=(6, 5), max=(6, 5))], [])
        with pytest.raises(ValueError, match=rf"rois are {re.escape(str(list(shape)))}; expected \[R, 5\]"):
            call([maps, SimpleNamespace(dims=shape, max=shape)], [])


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

keep = register(trt)
registry = trt.get_plugin_registry()
for name, given in (
    ("MultilevelRoIAlign4", {"output_size": 7, "sampling_ratio": 2, "finest_scale": 56}),
    ("MultilevelRoIAlign1", {"output_size": 14, "sampling_ratio": 0, "finest_scale": 56}),
    ("FixedNMS", {"iou_threshold": 0.5, "k": 100}),
    ("BoundaryMerge", {}),
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
    assert (recreated.num_outputs, recreated.plugin_namespace) == (2 if name == "FixedNMS" else 1, NAMESPACE)
    if name == "MultilevelRoIAlign4":
        assert built.get_output_data_types([trt.float16] * 4 + [trt.float32]) == [trt.float16]
        try:
            built.get_output_data_types([trt.float16] * 5)
        except ValueError as error:
            assert "rois are HALF; expected float32" in str(error)
        else:
            raise AssertionError("half precision RoIs were accepted")
print("TensorRT", trt.__version__.split(".")[0])
"""


@pytest.mark.tensorrt
@pytest.mark.skipif(find_spec("tensorrt_lean") is None, reason="needs tensorrt-lean-cu13: pip install -e '.[lean]'")
def test_tensorrt_11_creates_and_recreates_them() -> None:
    """In a process of its own: its runtime and that of TensorRT-RTX do not share one."""
    result = subprocess.run([sys.executable, "-c", IN_TENSORRT_11], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "TensorRT 11\n"
