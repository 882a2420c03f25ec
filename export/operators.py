"""The project's torch operators as nodes of the exported graph."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx.helper
import torch
from onnx.defs import OpSchema
from onnxscript.values import Op, Opset

import refinemask.ops  # noqa: F401  (registers torch.ops.refinemask)
from export.functions import DOMAIN, PLUGIN_ATTRIBUTES

VERSION = 1
FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
INT, FLOAT = OpSchema.AttrType.INT, OpSchema.AttrType.FLOAT


def _operator(name: str, inputs: dict[str, str], outputs: dict[str, str], **attributes: OpSchema.AttrType) -> Op:
    """An operator of our domain; the type ``T`` stands for any float."""
    schema = OpSchema(
        name,
        DOMAIN,
        VERSION,
        inputs=[OpSchema.FormalParameter(key, kind) for key, kind in inputs.items()],
        outputs=[OpSchema.FormalParameter(key, kind) for key, kind in outputs.items()],
        type_constraints=[("T", FLOATS, "any float")] if "T" in inputs.values() else [],
        attributes=[OpSchema.Attribute(key, kind) for key, kind in attributes.items()]
        + [OpSchema.Attribute(key, onnx.helper.make_attribute(key, text)) for key, text in PLUGIN_ATTRIBUTES.items()],
    )
    return Op(Opset(DOMAIN, VERSION), name, schema)


def _roi_align(levels: int) -> Op:
    # Of fixed arity: the exporter repeats an input before a variadic one.
    features = {f"f{level}": "T" for level in range(levels)}
    return _operator(
        f"MultilevelRoIAlign{levels}",
        {**features, "rois": "tensor(float)"},
        {"pooled": "T"},
        output_size=INT,
        sampling_ratio=INT,
        finest_scale=INT,
    )


ROI_ALIGN = {levels: _roi_align(levels) for levels in (1, 4)}
FIXED_NMS = _operator(
    "FixedNMS",
    {"boxes": "tensor(float)", "scores": "tensor(float)"},
    {"indices": "tensor(int32)", "num_kept": "tensor(int32)"},
    iou_threshold=FLOAT,
    k=INT,
)
BOUNDARY_MERGE = _operator(
    "BoundaryMerge", {"coarse": "tensor(float)", "fine": "tensor(float)"}, {"merged": "tensor(float)"}
)


def multilevel_roi_align(
    features: Sequence[Any], rois: Any, output_size: int, sampling_ratio: int, finest_scale: int
) -> Any:
    return ROI_ALIGN[len(features)](
        *features,
        rois,
        output_size=output_size,
        sampling_ratio=sampling_ratio,
        finest_scale=finest_scale,
        **PLUGIN_ATTRIBUTES,
    )


def fixed_nms(boxes: Any, scores: Any, iou_threshold: float, k: int) -> Any:
    return FIXED_NMS(boxes, scores, iou_threshold=iou_threshold, k=k, **PLUGIN_ATTRIBUTES)


def boundary_merge(coarse: Any, fine: Any) -> Any:
    return BOUNDARY_MERGE(coarse, fine, **PLUGIN_ATTRIBUTES)


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What :func:`torch.onnx.export` takes as ``custom_translation_table``."""
    ops = torch.ops.refinemask
    return {
        ops.multilevel_roi_align.default: multilevel_roi_align,
        ops.fixed_nms.default: fixed_nms,
        ops.boundary_merge.default: boundary_merge,
    }
