"""``TopScores`` as a plugin."""

from collections.abc import Sequence
from typing import Any

from refinemask.contract import TOP_SCORES
from trt_plugins.c_api import MAX_TOP_K
from trt_plugins.python_plugin.base import Plugin

_CHUNK = 2048
_RANKED = 5120
"""Values of a segment that need no workspace."""


class TopScores(Plugin):
    """The best scores of each row in order; input scores; outputs values, indices."""

    OPERATOR = TOP_SCORES
    OUTPUTS = 2

    def get_output_data_types(self, types: Any) -> list[Any]:
        self.expect_float32("scores", *types)
        return [self.trt.float32, self.trt.int32]

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, builder: Any) -> list[Any]:
        best = [inputs[0][0], builder.constant(self.attributes["k"])]
        return [self.trt.DimsExprs(best), self.trt.DimsExprs(best)]

    def supports_format_combination(self, position: int, tensors: Any, num_inputs: int) -> bool:
        return self.is_linear(tensors[position].desc, self.trt.float32 if position < 2 else self.trt.int32)

    def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
        (groups, scores), k = inputs[0].max, self.attributes["k"]
        if not k <= min(scores, MAX_TOP_K):
            raise ValueError(f"TopScores: k is {k} for rows of {scores} scores; expected at most these and {MAX_TOP_K}")
        return top_k_workspace(groups, [scores], k)

    def enqueue(self, inputs: Any, outputs: Any, buffers: Any, results: Any, workspace: int, stream: int) -> None:
        groups, scores = tuple(inputs[0].dims)
        self.kernels.top_k_segments(
            buffers[0],
            results[0],
            results[1],
            workspace,
            groups=groups,
            lengths=[scores],
            k=self.attributes["k"],
            narrow_indices=True,
            stream=stream,
        )


def top_k_workspace(groups: int, lengths: Sequence[int], k: int) -> int:
    """Bytes of workspace for the best of each segment, as the library counts them."""
    if max(lengths) <= _RANKED:
        return 0
    chunks = sum(-(-length // _CHUNK) for length in lengths)
    histograms, keys = 3 * (4 * 2048 + 8) + 4, 8 * k
    return groups * (len(lengths) * (histograms + keys) + chunks * 4 * 1024)
