"""The parts of a detector that a breakdown shows, told by the module and the operator."""

import re

PARTS = (
    "normalisation",
    "backbone",
    "FPN",
    "RPN head",
    "proposals",
    "context",
    "box RoIAlign",
    "box head",
    "detections",
    "semantic branch",
    "mask RoIAlign",
    "instance convs",
    *(f"stage {number} {kind}" for number in (1, 2, 3) for kind in ("dilated", "other")),
    "mask head",
    "boundary merge",
)
"""Parts in the order in which they run. ``proposals`` and ``detections`` are decoding, top-k and NMS. ``context`` is of
HTC, and ``mask head`` of all models but RefineMask."""
DENSE = ("conv", "gemm", "matmul", "mm", "linear", "relu", "sigmoid")


def part_of(module: str, operator: str) -> str:
    """The part that an operator belongs to.

    Args:
        module: as :attr:`benchmarks.harness.graph_cost.NodeCost.module`; empty before the first parameter is read.
        operator: of ONNX or of PyTorch, such as ``Conv`` or ``convolution``.
    """
    operator = operator.lower().replace("_", "")
    head, _, rest = module.partition(".")
    dense = any(word in operator for word in DENSE)
    if "roialign" in operator:
        return "box RoIAlign" if head == "box_head" else "mask RoIAlign"
    if "boundary" in operator:
        return "boundary merge"
    if head == "rpn":
        return "RPN head" if dense else "proposals"
    if head == "box_head":
        return "box head" if dense else "detections"
    if head == "mask_head":
        return _mask_part(rest)
    return {"": "normalisation", "fpn": "FPN"}.get(head, head)


def _mask_part(module: str) -> str:
    if module.startswith("semantic") or module.endswith("semantic_transform_in"):
        return "semantic branch"
    if module.startswith("instance_convs") or module == "instance_logits.0":
        return "instance convs"
    # The logits after a stage belong to it: in a graph nothing tells them from its last convolution.
    if stage := re.match(r"instance_logits\.(\d)", module):
        return f"stage {stage[1]} other"
    if stage := re.match(r"stages\.(\d)\.(fusion\.dilated_convs)?", module):
        return f"stage {int(stage[1]) + 1} {'dilated' if stage[2] else 'other'}"
    return "mask head"
