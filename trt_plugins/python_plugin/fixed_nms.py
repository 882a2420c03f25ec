"""``FixedNMS`` as a plugin."""

from typing import Any

from refinemask.contract import FIXED_NMS
from trt_plugins.c_api import MAX_NMS_BOXES
from trt_plugins.python_plugin.base import Plugin


class FixedNMS(Plugin):
    """NMS with a fixed number of results; inputs boxes, scores; outputs indices, num_kept."""

    OPERATOR = FIXED_NMS
    OUTPUTS = 2

    def get_output_data_types(self, types: Any) -> list[Any]:
        self.expect_float32("boxes and scores", *types)
        return [self.trt.int32, self.trt.int32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        groups, k = inputs[0][0], builder.constant(self.attributes["k"])
        return [self.trt.DimsExprs([groups, k]), self.trt.DimsExprs([groups])]

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        return self.is_linear(tensors[position].desc, self.trt.float32 if position < 2 else self.trt.int32)

    def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
        groups, boxes = inputs[0].max[0], inputs[0].max[1]
        if boxes > MAX_NMS_BOXES:
            raise ValueError(f"FixedNMS: {boxes} boxes per group; expected at most {MAX_NMS_BOXES}")
        return fixed_nms_workspace(groups, boxes)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        groups, boxes = tuple(inputs[0].dims)[:2]
        self.kernels.fixed_nms(
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


def fixed_nms_workspace(groups: int, boxes: int) -> int:
    """Bytes of workspace, as the library counts them: a network may be built where there is no library."""
    padded = -(-boxes // 64) * 64
    return groups * (padded * (16 + 4 + padded // 8) + 4)
