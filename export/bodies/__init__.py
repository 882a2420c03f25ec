"""The custom operators of an exported file, defined by standard ones.

Each operator is a node of domain ``refinemask`` and a model-local function of the same name. ONNX Runtime runs the
function's body; TensorRT takes the plugin registered under the node's ``plugin_version`` and ``plugin_namespace``.
TensorRT looks functions up by name alone, so each number of inputs needs a name of its own.
"""

import onnx_ir as ir

from export.bodies.boundary_merge import boundary_merge
from export.bodies.building import body_of, tensor
from export.bodies.fixed_nms import fixed_nms
from export.bodies.label_logits import label_logits, upsampled_label_logits
from export.bodies.roi_align import multilevel_roi_align, roi_align
from export.bodies.select_proposals import select_proposals
from export.bodies.top_k import top_scores
from refinemask.contract import (
    BOUNDARY_MERGE,
    FIXED_NMS,
    LABEL_LOGITS,
    ROI_ALIGN_1,
    ROI_ALIGN_4,
    SELECT_PROPOSALS,
    TOP_SCORES,
    UPSAMPLED_LABEL_LOGITS,
)


def function_bodies(opset: int) -> list[ir.Function]:
    """The bodies of all custom operators, in operator set ``opset``, which must be the model's own."""
    boxes, scores = tensor("boxes", "G", "N", 4), tensor("scores", "G", "N")
    coarse, fine = tensor("coarse", "R", 1, "n", "n"), tensor("fine", "R", 1, "m", "m")
    return [
        body_of(ROI_ALIGN_4, multilevel_roi_align, [*map(_map, range(4)), _rois()], opset),
        body_of(ROI_ALIGN_1, roi_align, [_map(0), _rois()], opset),
        body_of(FIXED_NMS, fixed_nms, [boxes, scores], opset),
        body_of(BOUNDARY_MERGE, boundary_merge, [coarse, fine], opset),
        body_of(SELECT_PROPOSALS, select_proposals, [*map(_joint_map, range(5)), *_anchors_and_sizes()], opset),
        body_of(TOP_SCORES, top_scores, [tensor("scores", "G", "N")], opset),
        body_of(LABEL_LOGITS, label_logits, [ir.Value(name="features"), *_predictor()], opset),
        body_of(
            UPSAMPLED_LABEL_LOGITS,
            upsampled_label_logits,
            [ir.Value(name="coarse"), ir.Value(name="masks"), *_predictor()],
            opset,
        ),
    ]


def _map(level: int) -> ir.Value:
    return ir.Value(name=f"f{level}")


def _rois() -> ir.Value:
    return tensor("rois", "R", 5)


def _joint_map(level: int) -> ir.Value:
    return ir.Value(name=f"m{level}")


def _anchors_and_sizes() -> tuple[ir.Value, ir.Value]:
    return tensor("base_anchors", 5, "A", 4), tensor("image_sizes", "B", 2)


def _predictor() -> list[ir.Value]:
    """Weights and biases of any float type, and labels."""
    return [ir.Value(name="weight"), ir.Value(name="bias"), ir.val("labels", ir.DataType.INT32, ["R"])]
