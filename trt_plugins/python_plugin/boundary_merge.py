"""``BoundaryMerge`` as a plugin."""

from typing import Any

from refinemask.contract import BOUNDARY_MERGE
from trt_plugins.python_plugin.base import Plugin


class BoundaryMerge(Plugin):
    """Boundary-aware merge of two stages; inputs coarse, fine."""

    OPERATOR = BOUNDARY_MERGE

    def get_output_data_types(self, types: Any) -> list[Any]:
        self.expect_float32("coarse and fine logits", *types)
        return [self.trt.float32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        return [self.trt.DimsExprs(inputs[1])]

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        return self.is_linear(tensors[position].desc, self.trt.float32)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        num_rois, _, size, _ = tuple(inputs[0].dims)
        self.kernels.boundary_merge(buffers[0], buffers[1], results[0], num_rois=num_rois, size=size, stream=stream)
