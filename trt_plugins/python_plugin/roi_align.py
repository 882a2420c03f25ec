"""``MultilevelRoIAlign1`` and ``MultilevelRoIAlign4`` as plugins."""

from typing import Any

from refinemask.contract import ROI_ALIGN_1, ROI_ALIGN_4
from trt_plugins.c_api import BFLOAT16, FLOAT, HALF, INTERLEAVED, PLANAR, FeatureMap
from trt_plugins.python_plugin.base import Plugin


class _MultilevelRoIAlign(Plugin):
    def get_output_data_types(self, types: Any) -> list[Any]:
        self.expect_float32("rois", types[-1])
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
            return self.is_linear(tensor, trt.float32)
        if position > 0:
            return tensor.type == first.type and tensor.format == first.format
        narrow = tensor.type in (trt.float16, trt.bfloat16)
        wide = self.is_linear(tensor, trt.float32)
        return wide or (narrow and tensor.format in (trt.TensorFormat.LINEAR, trt.TensorFormat.HWC8))

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        *maps, rois = inputs
        trt, (batch, channels) = self.trt, tuple(maps[0].dims)[:2]
        self.kernels.roi_align(
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
