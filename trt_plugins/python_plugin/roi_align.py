"""``MultilevelRoIAlign1`` and ``MultilevelRoIAlign4`` as plugins."""

from typing import Any, ClassVar

from refinemask.contract import ROI_ALIGN_1, ROI_ALIGN_4
from trt_plugins.c_api import BFLOAT16, FLOAT, HALF, INTERLEAVED, PLANAR, FeatureMap
from trt_plugins.python_plugin.base import Plugin

_VECTOR = 8
"""Channels of TensorRT's format HWC8 that are padded and read together."""


class _MultilevelRoIAlign(Plugin):
    @property
    def channels(self) -> tuple[int, int]:
        """The first channel that is pooled and the number of them; (0, 0) is all."""
        return 0, 0

    def get_output_data_types(self, types: Any) -> list[Any]:
        self.expect_float32("rois", types[-1])
        return [types[0]]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        size, (_, channels) = builder.constant(self.attributes["output_size"]), self.channels
        pooled = builder.constant(channels) if channels else inputs[0][1]
        return [self.trt.DimsExprs([inputs[-1][0], pooled, size, size])]

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        self._expect_shapes(inputs[0].max, inputs[-1].max)

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        self._expect_shapes(inputs[0].dims, inputs[-1].dims)

    def _expect_shapes(self, features: Any, rois: Any) -> None:
        name, end = type(self).__name__, sum(self.channels)
        if len(rois) != 2 or rois[1] != 5:
            raise ValueError(f"{name}: rois are {list(rois)}; expected [R, 5] (batch index, x1, y1, x2, y2)")
        if end > features[1]:
            raise ValueError(f"{name}: map f0 is {list(features)}; expected at least {end} channels")

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        trt, tensor, first = self.trt, tensors[position].desc, tensors[0].desc
        if position == num_inputs - 1:
            return self.is_linear(tensor, trt.float32)
        if position > 0:
            return tensor.type == first.type and tensor.format == first.format
        if tensor.format == trt.TensorFormat.HWC8:
            return tensor.type in (trt.float16, trt.bfloat16) and self.channels[0] % _VECTOR == 0
        return tensor.format == trt.TensorFormat.LINEAR and tensor.type in (trt.float32, trt.float16, trt.bfloat16)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        *maps, rois = inputs
        trt, (batch, stored, height, width) = self.trt, tuple(maps[0].dims)
        begin, channels = self.channels
        interleaved = maps[0].format == trt.TensorFormat.HWC8
        offset = begin * (1 if interleaved else height * width) * (4 if maps[0].type == trt.float32 else 2)
        self.kernels.roi_align(
            [FeatureMap(buffers[i] + offset, feature.dims[2], feature.dims[3]) for i, feature in enumerate(maps)],
            buffers[len(maps)],
            results[0],
            batch=batch,
            channels=channels or stored,
            map_channels=-(-stored // _VECTOR) * _VECTOR if interleaved else stored,
            num_rois=rois.dims[0],
            type={trt.float32: FLOAT, trt.float16: HALF, trt.bfloat16: BFLOAT16}[maps[0].type],
            layout=INTERLEAVED if interleaved else PLANAR,
            stream=stream,
            **{name: self.attributes[name] for name in ROI_ALIGN_4.attributes},
        )


class MultilevelRoIAlign4(_MultilevelRoIAlign):
    """RoIAlign on four maps; inputs f0, f1, f2, f3, rois."""

    OPERATOR = ROI_ALIGN_4


class MultilevelRoIAlign1(_MultilevelRoIAlign):
    """RoIAlign on one map, or on some of its channels; inputs f0, rois."""

    OPERATOR = ROI_ALIGN_1
    DEFAULTS: ClassVar[dict[str, int | float]] = {"channel_begin": 0, "channels": 0}

    @property
    def channels(self) -> tuple[int, int]:
        return self.attributes["channel_begin"], self.attributes["channels"]
