"""The plugins as Python ``IPluginV3`` classes over the kernels' C interface.

For machines without TensorRT's headers or a C++ compiler: ``register(tensorrt)`` or ``register(tensorrt_rtx)`` puts
creators of the same names, version and namespace into the registry. The plugins need the kernel library only once an
engine runs, so a network can be built without it. An engine that was built with these plugins needs this module to run;
one that was built with the C++ library does not.
"""

import sys
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from refinemask.contract import BOUNDARY_MERGE, FIXED_NMS, PLUGIN_ATTRIBUTES, ROI_ALIGN_1, ROI_ALIGN_4, Operator
from trt_plugins import kernels_path
from trt_plugins.c_api import BFLOAT16, FLOAT, HALF, INTERLEAVED, MAX_NMS_BOXES, PLANAR, FeatureMap, Kernels

VERSION, NAMESPACE = PLUGIN_ATTRIBUTES["plugin_version"], PLUGIN_ATTRIBUTES["plugin_namespace"]
FIELD_TYPES = {int: ("INT32", np.int32), float: ("FLOAT32", np.float32)}
"""TensorRT's name and NumPy's type for each Python type of an attribute."""


def register(trt: Any) -> list[Any]:
    """Register the creators of all plugins with the module's plugin registry.

    Args:
        trt: the imported ``tensorrt`` (10.0 or newer) or ``tensorrt_rtx``.

    Returns:
        The creators. The registry does not own them: keep them as long as the registry is used.

    Raises:
        RuntimeError: the registry refused one, usually because the C++ library is loaded already.
    """
    creators = [_creator(trt, plugin) for plugin in (MultilevelRoIAlign4, MultilevelRoIAlign1, FixedNMS, BoundaryMerge)]
    for creator in creators:
        if not trt.get_plugin_registry().register_creator(creator, NAMESPACE):
            raise RuntimeError(f"{creator.name} {VERSION} is registered already; use either the library or this module")
    return creators


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    return Kernels(kernels_path())


def _creator(trt: Any, logic: type["_Plugin"]) -> Any:
    plugin = _concrete(trt, logic)
    attributes = logic.OPERATOR.attributes
    fields = [
        trt.PluginField(name, np.zeros(0), getattr(trt.PluginFieldType, FIELD_TYPES[kind][0]))
        for name, kind in attributes.items()
    ]

    class Creator(trt.IPluginCreatorV3One):
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_version, self.plugin_namespace = logic.OPERATOR.name, VERSION, NAMESPACE
            self.field_names = trt.PluginFieldCollection(fields)

        def create_plugin(self, name: str, collection: Any, phase: Any) -> Any:
            given = {field.name: np.asarray(field.data).reshape(-1) for field in collection}
            if missing := [name for name in attributes if name not in given]:
                # Python plugins have no way to TensorRT's logger; TensorRT itself reports the null result.
                print(f"{self.name}: attributes {', '.join(missing)} are missing", file=sys.stderr)
                return None
            return plugin({name: given[name][0].item() for name in attributes})

    return Creator()


def _concrete(trt: Any, logic: type["_Plugin"]) -> type:
    """A plugin class of one TensorRT module."""
    bases = (trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime)

    def init(self: Any, attributes: dict[str, Any]) -> None:
        for base in bases:
            base.__init__(self)
        self.attributes = attributes
        self.num_outputs = logic.OUTPUTS
        self.plugin_name, self.plugin_version, self.plugin_namespace = logic.OPERATOR.name, VERSION, NAMESPACE

    return type(logic.__name__, (logic, *bases), {"__init__": init, "trt": trt})


class _Plugin:
    """What all plugins have in common; the methods are those of TensorRT's interfaces."""

    OPERATOR: ClassVar[Operator]
    OUTPUTS: ClassVar[int] = 1
    trt: Any
    attributes: dict[str, Any]

    def get_capability_interface(self, kind: Any) -> Any:
        return self

    def clone(self) -> Any:
        return type(self)(self.attributes)  # type: ignore[call-arg]

    def attach_to_context(self, context: Any) -> Any:
        return self.clone()

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        return None

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        return None

    def set_tactic(self, tactic: int) -> None:
        return None

    def get_fields_to_serialize(self) -> Any:
        return self.trt.PluginFieldCollection([self._field(*each) for each in self.OPERATOR.attributes.items()])

    def _field(self, name: str, kind: type) -> Any:
        field_type, dtype = FIELD_TYPES[kind]
        value = np.array([self.attributes[name]], dtype)
        return self.trt.PluginField(name, value, getattr(self.trt.PluginFieldType, field_type))

    def _expect_float32(self, what: str, *types: Any) -> None:
        if any(dtype != self.trt.float32 for dtype in types):
            found = ", ".join(dtype.name for dtype in types)
            raise ValueError(f"{type(self).__name__}: {what} are {found}; expected float32")

    def _is_linear(self, tensor: Any, dtype: Any) -> bool:
        return tensor.type == dtype and tensor.format == self.trt.TensorFormat.LINEAR


class _MultilevelRoIAlign(_Plugin):
    def get_output_data_types(self, types: Any) -> list[Any]:
        self._expect_float32("rois", types[-1])
        return [types[0]]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        size = builder.constant(self.attributes["output_size"])
        return [self.trt.DimsExprs([inputs[-1][0], inputs[0][1], size, size])]

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        self._expect_rois(inputs[-1].max)

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        self._expect_rois(inputs[-1].dims)

    def _expect_rois(self, dims: Any) -> None:
        if len(dims) != 2 or dims[1] != 5:
            raise ValueError(
                f"{type(self).__name__}: rois are {list(dims)}; expected [R, 5] (batch index, x1, y1, x2, y2)"
            )

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        trt, tensor, first = self.trt, tensors[position].desc, tensors[0].desc
        if position == num_inputs - 1:
            return self._is_linear(tensor, trt.float32)
        if position > 0:
            return tensor.type == first.type and tensor.format == first.format
        narrow = tensor.type in (trt.float16, trt.bfloat16)
        wide = self._is_linear(tensor, trt.float32)
        return wide or (narrow and tensor.format in (trt.TensorFormat.LINEAR, trt.TensorFormat.HWC8))

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        *maps, rois = inputs
        trt, (batch, channels) = self.trt, tuple(maps[0].dims)[:2]
        _kernels().roi_align(
            [FeatureMap(buffers[i], feature.dims[2], feature.dims[3]) for i, feature in enumerate(maps)],
            buffers[len(maps)],
            results[0],
            batch=batch,
            channels=channels,
            num_rois=rois.dims[0],
            type={trt.float32: FLOAT, trt.float16: HALF, trt.bfloat16: BFLOAT16}[maps[0].type],
            layout=INTERLEAVED if maps[0].format == trt.TensorFormat.HWC8 else PLANAR,
            stream=stream,
            **self.attributes,
        )


class MultilevelRoIAlign4(_MultilevelRoIAlign):
    """RoIAlign on four maps; inputs f0, f1, f2, f3, rois."""

    OPERATOR = ROI_ALIGN_4


class MultilevelRoIAlign1(_MultilevelRoIAlign):
    """RoIAlign on one map; inputs f0, rois."""

    OPERATOR = ROI_ALIGN_1


class FixedNMS(_Plugin):
    """NMS with a fixed number of results; inputs boxes, scores; outputs indices, num_kept."""

    OPERATOR = FIXED_NMS
    OUTPUTS = 2

    def get_output_data_types(self, types: Any) -> list[Any]:
        self._expect_float32("boxes and scores", *types)
        return [self.trt.int32, self.trt.int32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        groups, k = inputs[0][0], builder.constant(self.attributes["k"])
        return [self.trt.DimsExprs([groups, k]), self.trt.DimsExprs([groups])]

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        return self._is_linear(tensors[position].desc, self.trt.float32 if position < 2 else self.trt.int32)

    def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
        groups, boxes = inputs[0].max[0], inputs[0].max[1]
        if boxes > MAX_NMS_BOXES:
            raise ValueError(f"FixedNMS: {boxes} boxes per group; expected at most {MAX_NMS_BOXES}")
        return fixed_nms_workspace(groups, boxes)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        groups, boxes = tuple(inputs[0].dims)[:2]
        _kernels().fixed_nms(
            buffers[0],
            buffers[1],
            results[0],
            results[1],
            workspace,
            groups=groups,
            num_boxes=boxes,
            iou_threshold=self.attributes["iou_threshold"],
            k=self.attributes["k"],
            stream=stream,
        )


class BoundaryMerge(_Plugin):
    """Boundary-aware merge of two stages; inputs coarse, fine."""

    OPERATOR = BOUNDARY_MERGE

    def get_output_data_types(self, types: Any) -> list[Any]:
        self._expect_float32("coarse and fine logits", *types)
        return [self.trt.float32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        return [self.trt.DimsExprs(inputs[1])]

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        return self._is_linear(tensors[position].desc, self.trt.float32)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        num_rois, _, size, _ = tuple(inputs[0].dims)
        _kernels().boundary_merge(buffers[0], buffers[1], results[0], num_rois=num_rois, size=size, stream=stream)


def fixed_nms_workspace(groups: int, boxes: int) -> int:
    """Bytes of workspace, as the library counts them: a network may be built where there is no library."""
    padded = -(-boxes // 64) * 64
    return groups * (padded * (16 + 4 + padded // 8) + 4)
