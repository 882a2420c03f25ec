"""``SelectProposals`` as a plugin."""

from collections.abc import Sequence
from typing import Any

from refinemask.contract import SELECT_PROPOSALS
from trt_plugins.c_api import BFLOAT16, FLOAT, HALF, INTERLEAVED, MAX_TOP_K, PLANAR, FeatureMap
from trt_plugins.problems import PROPOSAL_LEVELS
from trt_plugins.python_plugin.base import Plugin
from trt_plugins.python_plugin.top_scores import top_k_workspace


class SelectProposals(Plugin):
    """The best anchors of each level as boxes; inputs m0 to m4, base_anchors, image_sizes; outputs boxes, scores."""

    OPERATOR = SELECT_PROPOSALS
    OUTPUTS = 2

    def get_output_data_types(self, types: Any) -> list[Any]:
        self.expect_float32("base_anchors and image_sizes", *types[PROPOSAL_LEVELS:])
        return [self.trt.float32, self.trt.float32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        trt, batch, k = self.trt, inputs[0][0], builder.constant(self.attributes["k"])
        rows = builder.operation(trt.DimensionOperation.PROD, batch, builder.constant(PROPOSAL_LEVELS))
        return [trt.DimsExprs([rows, k, builder.constant(4)]), trt.DimsExprs([rows, k])]

    def configure_plugin(self, inputs: Any, outputs: Any) -> None:
        self._expect_shapes([tuple(each.max) for each in inputs])

    def on_shape_change(self, inputs: Any, outputs: Any) -> None:
        self._expect_shapes([tuple(each.dims) for each in inputs])

    def _expect_shapes(self, shapes: Sequence[tuple[int, ...]]) -> None:
        *maps, anchors, sizes = shapes
        batch, channels = maps[0][:2]
        for level, shape in enumerate(maps):
            if len(shape) != 4 or shape[:2] != (batch, channels) or channels % 5:
                raise ValueError(f"SelectProposals: map m{level} is {list(shape)}; expected [{batch}, 5A, H, W]")
        if anchors != (PROPOSAL_LEVELS, channels // 5, 4):
            raise ValueError(
                f"SelectProposals: base_anchors are {list(anchors)}; expected {[PROPOSAL_LEVELS, channels // 5, 4]}"
            )
        if sizes != (batch, 2):
            raise ValueError(f"SelectProposals: image_sizes are {list(sizes)}; expected [{batch}, 2] (height, width)")
        if not 1 <= self.attributes["k"] <= MAX_TOP_K:
            raise ValueError(f"SelectProposals: k is {self.attributes['k']}; expected 1 to {MAX_TOP_K}")

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        trt, tensor, first = self.trt, tensors[position].desc, tensors[0].desc
        if position >= PROPOSAL_LEVELS:
            return self.is_linear(tensor, trt.float32)
        if position > 0:
            return tensor.type == first.type and tensor.format == first.format
        narrow = tensor.type in (trt.float16, trt.bfloat16)
        wide = self.is_linear(tensor, trt.float32)
        return wide or (narrow and tensor.format in (trt.TensorFormat.LINEAR, trt.TensorFormat.HWC8))

    def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
        maps = [tuple(each.max) for each in inputs[:PROPOSAL_LEVELS]]
        batch, channels = maps[0][:2]
        return select_proposals_workspace([shape[2:] for shape in maps], batch, channels // 5, self.attributes["k"])

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        trt, maps = self.trt, inputs[:PROPOSAL_LEVELS]
        self.kernels.select_proposals(
            [FeatureMap(buffers[i], each.dims[2], each.dims[3]) for i, each in enumerate(maps)],
            buffers[PROPOSAL_LEVELS],
            buffers[PROPOSAL_LEVELS + 1],
            results[0],
            results[1],
            workspace,
            batch=maps[0].dims[0],
            num_anchors=maps[0].dims[1] // 5,
            type={trt.float32: FLOAT, trt.float16: HALF, trt.bfloat16: BFLOAT16}[maps[0].type],
            layout=INTERLEAVED if maps[0].format == trt.TensorFormat.HWC8 else PLANAR,
            stream=stream,
            **self.attributes,
        )


def select_proposals_workspace(sizes: Sequence[Sequence[int]], batch: int, num_anchors: int, k: int) -> int:
    """Bytes of workspace, as the library counts them: a network may be built where there is no library."""
    lengths = [max(height * width * num_anchors, k) for height, width in sizes]
    results = batch * PROPOSAL_LEVELS * k
    parts = 4 * batch * sum(lengths), 4 * results, 4 * results, top_k_workspace(batch, lengths, k)
    return sum(-(-part // 256) * 256 for part in parts)
