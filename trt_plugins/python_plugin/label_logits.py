"""``LabelLogits`` and ``UpsampledLabelLogits`` as plugins."""

from typing import Any, ClassVar

from refinemask.contract import LABEL_LOGITS, UPSAMPLED_LABEL_LOGITS
from trt_plugins.c_api import BFLOAT16, FLOAT, HALF, INTERLEAVED, MAX_LABEL_LOGITS_COLUMNS, PLANAR
from trt_plugins.python_plugin.base import Plugin


class _LabelLogits(Plugin):
    MAPS: ClassVar[int]
    """Number of inputs before weight, bias and labels."""

    def get_output_data_types(self, types: Any) -> list[Any]:
        floats, labels = types[:-1], types[-1]
        if any(each != floats[0] for each in floats) or labels != self.trt.int32:
            found = ", ".join(each.name for each in types)
            raise ValueError(f"{type(self).__name__}: inputs are {found}; expected one float type, and labels in int32")
        return [self.trt.float32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        last = inputs[self.MAPS - 1]
        return [self.trt.DimsExprs([inputs[0][0], builder.constant(1), last[2], last[3]])]

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        self._expect_columns([each.max for each in inputs])

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        self._expect_columns([each.dims for each in inputs])

    def _expect_columns(self, dims: list[Any]) -> None:
        channels, weight = sum(each[1] for each in dims[: self.MAPS]), dims[self.MAPS]
        if weight[1] != channels or channels > MAX_LABEL_LOGITS_COLUMNS:
            raise ValueError(
                f"{type(self).__name__}: weight is {list(weight)} for {channels} channels; expected as many columns, "
                f"at most {MAX_LABEL_LOGITS_COLUMNS}"
            )

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        trt, tensor, first = self.trt, tensors[position].desc, tensors[0].desc
        if position == 0:
            narrow = tensor.type in (trt.float16, trt.bfloat16)
            wide = self.is_linear(tensor, trt.float32)
            return wide or (narrow and tensor.format in (trt.TensorFormat.LINEAR, trt.TensorFormat.HWC8))
        if position == num_inputs - 1:
            return self.is_linear(tensor, trt.int32)
        return self.is_linear(tensor, trt.float32 if position == num_inputs else first.type)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        trt, features, weight = self.trt, inputs[0], inputs[self.MAPS]
        weights, biases, labels = buffers[self.MAPS : self.MAPS + 3]
        num_rois, channels, size, _ = tuple(features.dims)
        self.kernels.label_logits(
            buffers[0],
            buffers[1] if self.MAPS == 2 else None,
            weights,
            biases,
            labels,
            results[0],
            num_rois=num_rois,
            channels=channels,
            mask_channels=weight.dims[1] - channels,
            num_rows=weight.dims[0],
            size=size,
            type={trt.float32: FLOAT, trt.float16: HALF, trt.bfloat16: BFLOAT16}[features.type],
            layout=INTERLEAVED if features.format == trt.TensorFormat.HWC8 else PLANAR,
            stream=stream,
        )


class LabelLogits(_LabelLogits):
    """Logits of each RoI's label; inputs features, weight, bias, labels."""

    OPERATOR = LABEL_LOGITS
    MAPS = 1


class UpsampledLabelLogits(_LabelLogits):
    """Logits of each RoI's label at twice the size; inputs coarse, masks, weight, bias, labels."""

    OPERATOR = UPSAMPLED_LABEL_LOGITS
    MAPS = 2
