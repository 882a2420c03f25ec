"""The project's torch operators as nodes of the exported graph."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx.helper
import torch
from onnx.defs import OpSchema
from onnxscript import opset18
from onnxscript.values import Op, Opset

import refinemask.modeling.select_proposals
import refinemask.ops  # noqa: F401  (registers torch.ops.refinemask)
from refinemask.contract import (
    BOUNDARY_MERGE,
    DOMAIN,
    FIXED_NMS,
    LABEL_LOGITS,
    PLUGIN_ATTRIBUTES,
    ROI_ALIGN_1,
    ROI_ALIGN_4,
    SELECT_PROPOSALS,
    TOP_SCORES,
    UPSAMPLED_LABEL_LOGITS,
    Operator,
)

VERSION = 1
ANY_FLOAT = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
FLOAT, INT = "tensor(float)", "tensor(int32)"


def _node_of(operator: Operator, inputs: dict[str, str], outputs: dict[str, str]) -> Op:
    """The operator as the exporter makes nodes of it; the type ``T`` stands for any float."""
    kinds = {int: OpSchema.AttrType.INT, float: OpSchema.AttrType.FLOAT}
    schema = OpSchema(
        operator.name,
        DOMAIN,
        VERSION,
        inputs=[OpSchema.FormalParameter(key, kind) for key, kind in inputs.items()],
        outputs=[OpSchema.FormalParameter(key, kind) for key, kind in outputs.items()],
        type_constraints=[("T", ANY_FLOAT, "any float")] if "T" in inputs.values() else [],
        attributes=[OpSchema.Attribute(key, kinds[kind]) for key, kind in operator.attributes.items()]
        + [OpSchema.Attribute(key, onnx.helper.make_attribute(key, text)) for key, text in PLUGIN_ATTRIBUTES.items()],
    )
    return Op(Opset(DOMAIN, VERSION), operator.name, schema)


def _roi_align_of(operator: Operator, levels: int) -> Op:
    # The number of inputs is fixed, because the exporter repeats an input before a variadic one.
    return _node_of(operator, {**{f"f{level}": "T" for level in range(levels)}, "rois": FLOAT}, {"pooled": "T"})


ROI_ALIGN_NODES = {1: _roi_align_of(ROI_ALIGN_1, 1), 4: _roi_align_of(ROI_ALIGN_4, 4)}
FIXED_NMS_NODE = _node_of(FIXED_NMS, {"boxes": FLOAT, "scores": FLOAT}, {"indices": INT, "num_kept": INT})
BOUNDARY_MERGE_NODE = _node_of(BOUNDARY_MERGE, {"coarse": FLOAT, "fine": FLOAT}, {"merged": FLOAT})
SELECT_PROPOSALS_NODE = _node_of(
    SELECT_PROPOSALS,
    {**{f"m{level}": "T" for level in range(5)}, "base_anchors": FLOAT, "image_sizes": FLOAT},
    {"boxes": FLOAT, "scores": FLOAT},
)
TOP_SCORES_NODE = _node_of(TOP_SCORES, {"scores": FLOAT}, {"values": FLOAT, "indices": INT})
_PREDICTOR = {"weight": "T", "bias": "T", "labels": INT}
LABEL_LOGITS_NODE = _node_of(LABEL_LOGITS, {"features": "T"} | _PREDICTOR, {"logits": FLOAT})
UPSAMPLED_LABEL_LOGITS_NODE = _node_of(
    UPSAMPLED_LABEL_LOGITS, {"coarse": "T", "masks": "T"} | _PREDICTOR, {"logits": FLOAT}
)


def multilevel_roi_align(
    features: Sequence[Any], rois: Any, output_size: int, sampling_ratio: int, finest_scale: int
) -> Any:
    """The node of :func:`refinemask.ops.multilevel_roi_align`."""
    if len(features) == 1:
        return roi_align_channels(features[0], rois, 0, 0, output_size, sampling_ratio, finest_scale)
    return ROI_ALIGN_NODES[len(features)](
        *features,
        rois,
        output_size=output_size,
        sampling_ratio=sampling_ratio,
        finest_scale=finest_scale,
        **PLUGIN_ATTRIBUTES,
    )


def roi_align_channels(
    feature: Any,
    rois: Any,
    channel_begin: int,
    channels: int,
    output_size: int,
    sampling_ratio: int,
    finest_scale: int,
) -> Any:
    """The node of :func:`refinemask.ops.roi_align_channels`; no channels are all of them."""
    return ROI_ALIGN_NODES[1](
        feature,
        rois,
        output_size=output_size,
        sampling_ratio=sampling_ratio,
        finest_scale=finest_scale,
        channel_begin=channel_begin,
        channels=channels,
        **PLUGIN_ATTRIBUTES,
    )


def fixed_nms(boxes: Any, scores: Any, iou_threshold: float, k: int) -> Any:
    """The node of :func:`refinemask.ops.fixed_nms`."""
    return FIXED_NMS_NODE(boxes, scores, iou_threshold=iou_threshold, k=k, **PLUGIN_ATTRIBUTES)


def boundary_merge(coarse: Any, fine: Any) -> Any:
    """The node of :func:`refinemask.ops.boundary_merge`."""
    return BOUNDARY_MERGE_NODE(coarse, fine, **PLUGIN_ATTRIBUTES)


def select_proposals(maps: Sequence[Any], base_anchors: Any, image_sizes: Any, k: int) -> Any:
    """The node of :func:`refinemask.modeling.select_proposals.select_proposals`."""
    return SELECT_PROPOSALS_NODE(*maps, base_anchors, image_sizes, k=k, **PLUGIN_ATTRIBUTES)


def top_scores(scores: Any, k: int) -> Any:
    """The node of :func:`refinemask.ops.top_scores`."""
    return TOP_SCORES_NODE(scores, k=k, **PLUGIN_ATTRIBUTES)


def quotient(dividend: Any, divisor: Any) -> Any:
    """``//`` of whole numbers that are not negative, as indices are: ONNX's own division, which rounds towards zero."""
    return opset18.Div(dividend, divisor)


def label_logits(features: Any, weight: Any, bias: Any, labels: Any) -> Any:
    """The node of :func:`refinemask.ops.label_logits`."""
    return LABEL_LOGITS_NODE(features, weight, bias, labels, **PLUGIN_ATTRIBUTES)


def upsampled_label_logits(coarse: Any, masks: Any, weight: Any, bias: Any, labels: Any) -> Any:
    """The node of :func:`refinemask.ops.upsampled_label_logits`."""
    return UPSAMPLED_LABEL_LOGITS_NODE(coarse, masks, weight, bias, labels, **PLUGIN_ATTRIBUTES)


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Torch operators and their nodes, as :func:`torch.onnx.export` takes them in ``custom_translation_table``."""
    ops = torch.ops.refinemask
    return {
        ops.multilevel_roi_align.default: multilevel_roi_align,
        ops.roi_align_channels.default: roi_align_channels,
        ops.fixed_nms.default: fixed_nms,
        ops.boundary_merge.default: boundary_merge,
        torch.ops.aten.floor_divide.default: quotient,
        ops.select_proposals.default: select_proposals,
        ops.top_scores.default: top_scores,
        ops.label_logits.default: label_logits,
        ops.upsampled_label_logits.default: upsampled_label_logits,
    }
