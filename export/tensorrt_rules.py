"""What would stop a TensorRT parser or builder from taking an exported file, found out without TensorRT.

The rules come from the parsers' documentation and sources (TensorRT 10 and 11) and from builds of single operators
(TensorRT-RTX 1.7).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import onnx.defs
import onnx_ir as ir
from onnx_ir import DataType

from export.reading import read_model
from refinemask.contract import DOMAIN, OPERATORS, PLUGIN_ATTRIBUTES, SELECT_PROPOSALS, TOP_SCORES, missing_properties
from refinemask.files import UserError
from refinemask.foreign import foreign_errors, one_line

Target = Literal["tensorrt-10.3", "tensorrt-10", "tensorrt-11", "rtx"]
"""What builds a file: TensorRT 10.3 (JetPack 6) to 10.6; all of 10.7 to 10.16; all of 11; TensorRT-RTX 1.7."""


@dataclass(frozen=True)
class Parser:
    """What the parser of a target knows."""

    opset: int
    """Newest operator set that its documentation promises."""
    ir_version: int
    """Newest version of the file format that its ONNX has. The parser does not look at the number."""
    bodies_win: bool = False
    """Whether it takes a function's body although a plugin of that name is loaded."""
    reads_domain: bool = False
    """Whether it looks for the plugin of a node without a body in the node's domain, too."""


# Operator sets are those of onnx-tensorrt's docs/operators.md: 9 to 20 in 10.0, 9 to 24 in 10.15 and in 11. Where it is
# silent, and for the file format, the release of ONNX decides that docs/Changelog.md names: 1.16 in 10.1 (format 10),
# 1.17 in 10.6 (format 10, operator set 22), 1.18 in 10.11 (11, 23); NVIDIA's guide of operator sets has 1.20 for 11
# (format 13). RTX 1.7 has the names of the formats up to 12; it parses files of newer ones without a word. Plugins come
# before bodies since 10.7, and the node's domain counts since 10.10, says the Changelog.
PARSERS: dict[Target, Parser] = {
    "tensorrt-10.3": Parser(opset=20, ir_version=10, bodies_win=True),
    "tensorrt-10": Parser(opset=22, ir_version=10),
    "tensorrt-11": Parser(opset=24, ir_version=13, reads_domain=True),
    "rtx": Parser(opset=24, ir_version=12, reads_domain=True),
}
OLDEST_OPSET = 9
NO_BFLOAT16_DECONVOLUTION: tuple[Target, ...] = ("tensorrt-11", "rtx")
TOP_K_LIMIT = 3840
PLUGINS = {operator.name for operator in OPERATORS}
SELECTIONS = {SELECT_PROPOSALS.name, TOP_SCORES.name}

SUPPORTED = (
    "Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape "
    "Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Einsum Equal Erf Exp Expand Flatten Floor Gather "
    "GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample "
    "GroupNormalization HardSigmoid HardSwish Identity If InstanceNormalization LayerNormalization LeakyRelu Less "
    "LessOrEqual Log LogSoftmax Loop MatMul Max MaxPool Mean Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or "
    "Pad Pow PRelu QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum Relu Reshape Resize RoiAlign Round ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice Softmax "
    "Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor"
)
STANDARD = frozenset(SUPPORTED.split())
MISSING_IN_RTX = {
    "NonZero": "its plugin is not in TensorRT-RTX",
    "NonMaxSuppression": "TensorRT-RTX parses it and has no implementation to build",
    "RoiAlign": "TensorRT-RTX needs a GPU even to parse it",
}
TYPES = {
    DataType.FLOAT,
    DataType.FLOAT16,
    DataType.BFLOAT16,
    DataType.INT64,
    DataType.INT32,
    DataType.INT8,
    DataType.UINT8,
    DataType.BOOL,
    DataType.FLOAT8E4M3FN,
}


@dataclass(frozen=True)
class Finding:
    """A reason why a target cannot build a file."""

    where: str
    """What is refused: a node by operator and name, a function, a tensor, the operator set or the metadata."""
    reason: str
    """Why it is refused."""
    body: str | None = None
    """Custom operator whose body is refused, which matters only if its plugin is not loaded; None for the graph itself,
    with the plugins."""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def check_onnx(path: str | os.PathLike[str], target: Target = "tensorrt-10") -> list[Finding]:
    """What would stop ``target`` from building an exported file; empty where nothing would.

    Raises:
        UserError: the file is missing or no ONNX file, or there is no such target.
    """
    if target not in get_args(Target):
        raise UserError(f"target {target!r}: expected {', '.join(get_args(Target))}")
    return check_model(read_model(path), target)


def check_model(model: ir.Model, target: Target) -> list[Finding]:
    """What would stop ``target`` from building the graph with the plugins, and then each body, without them."""
    findings = [*_file_findings(model, target)]
    bodies = {function.name for function in model.functions.values()}
    for node in model.graph.all_nodes():
        if node.domain:
            problems = _custom_problems(node, by_domain=PARSERS[target].reads_domain and node.op_type not in bodies)
        else:
            problems = _node_problems(node, target)
        findings += [Finding(f"{node.op_type} {node.name}", reason) for reason in problems]
    for function in model.functions.values():
        reasons = [(node.op_type, reason) for node in function.all_nodes() for reason in _node_problems(node, target)]
        # A body may use one operator several times.
        findings += [Finding(where, reason, function.name) for where, reason in dict.fromkeys(reasons)]
    return findings


def _file_findings(model: ir.Model, target: Target) -> Iterator[Finding]:
    if missing := missing_properties(model.metadata_props):
        lacks = f"lacks {', '.join(missing)}, so engines.build refuses it: not a file of export.to_onnx"
        yield Finding("metadata", lacks)
    if model.metadata_props.get("masks") == "found":
        reason = "shapes depend on the image, so engines.build refuses it; export with --masks all"
        yield Finding("masks found", reason)
    opset, parser = model.opset_imports.get("", 0), PARSERS[target]
    if not OLDEST_OPSET <= opset <= parser.opset:
        remedy = "with --precision fp16" if model.metadata_props.get("precision") == "bf16" else "without --opset"
        reason = f"expected {OLDEST_OPSET} to {parser.opset} for {target}; export {remedy}"
        yield Finding(f"operator set {opset}", reason)
    if model.ir_version > parser.ir_version:
        reason = f"{target} knows {parser.ir_version} and may leave out what is newer; export it again"
        yield Finding(f"file format (IR version) {model.ir_version}", reason)
    if model.functions and parser.bodies_win:
        names = ", ".join(dict.fromkeys(function.name for function in model.functions.values()))
        reason = f"{target} takes them although the plugins are loaded; export with --no-bodies"
        yield Finding(f"bodies of {names}", reason)
    yield from _function_findings(model, opset)
    yield from _tensor_findings(model)


def _function_findings(model: ir.Model, opset: int) -> Iterator[Finding]:
    names = [function.name for function in model.functions.values()]
    for name in dict.fromkeys(names):
        # The parser knows functions by name alone, and its own importers come first.
        if names.count(name) > 1:
            yield Finding(f"function {name}", "several functions of this name")
        if onnx.defs.has(name):
            yield Finding(f"function {name}", "a standard operator has this name, and the parser takes that")
    for function in model.functions.values():
        version = function.opset_imports.get("")
        if version != opset:
            yield Finding(f"function {function.name}", f"operator set {version}, the model's is {opset}")


def _tensor_findings(model: ir.Model) -> Iterator[Finding]:
    computed = (output for node in model.graph.all_nodes() for output in node.outputs)
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *computed):
        if value.dtype is not None and value.dtype not in TYPES:
            yield Finding(f"tensor {value.name}", f"type {value.dtype} is not supported")
    for value in model.graph.inputs:
        if value.dtype == DataType.UINT8 and any(node.op_type != "Cast" for node in value.consumers()):
            yield Finding(f"input {value.name}", "uint8 is for network inputs alone, they must be cast first")


def _custom_problems(node: ir.Node, *, by_domain: bool) -> Iterator[str]:
    if node.domain != DOMAIN or node.op_type not in PLUGINS:
        yield f"no plugin of ours has the name {node.domain}::{node.op_type}"
    for name, expected in PLUGIN_ATTRIBUTES.items():
        value = _attribute(node, name, "")
        # From 10.15 on, the parser takes a plugin in place of a body only if the node has a namespace as an attribute.
        if value != expected and not (by_domain and name == "plugin_namespace"):
            yield f"attribute {name} is {value!r}, expected {expected!r}: the plugin would not be found"
    if node.overload:
        yield "the parser knows no overloads"
    if node.op_type in SELECTIONS and (k := int(_attribute(node, "k", 0))) > TOP_K_LIMIT:
        yield f"k is {k}, the limit is {TOP_K_LIMIT}"


def _node_problems(node: ir.Node, target: Target) -> Iterator[str]:
    if node.op_type not in STANDARD:
        yield f"not supported by {target}"
    if target == "rtx" and node.op_type in MISSING_IN_RTX:
        yield MISSING_IN_RTX[node.op_type]
    bfloat16 = any(output.dtype == DataType.BFLOAT16 for output in node.outputs)
    if node.op_type == "ConvTranspose" and bfloat16 and target in NO_BFLOAT16_DECONVOLUTION:
        yield f"{target} has no implementation in bfloat16; export it again"
    if node.op_type == "TopK":
        yield from _top_k_problems(node)
    if node.op_type == "Resize" and _attribute(node, "antialias", 0):
        yield "antialias is not supported"
    if node.op_type == "Resize" and _attribute(node, "mode", "nearest") not in ("nearest", "linear"):
        yield "only nearest and linear are supported"
    if node.op_type in ("ScatterND", "ScatterElements") and _attribute(node, "reduction", "none") != "none":
        yield "a reduction is not supported"


def _attribute(node: ir.Node, name: str, default: int | str) -> Any:
    """The value of an attribute, of whatever kind it is; the default where the node has none of its own."""
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.value is None else attribute.value


def _top_k_problems(node: ir.Node) -> Iterator[str]:
    source = node.inputs[1] if len(node.inputs) > 1 else None
    # The tensor may be of any type and shape, or damaged.
    with foreign_errors(f"node {node.op_type} {one_line(node.name)}: its k cannot be read", "export it again"):
        k = ir.convenience.get_const_tensor(source) if source is not None else None
        largest = None if k is None else int(k.numpy().max())
    if largest is not None and largest > TOP_K_LIMIT:
        yield f"k is {largest}, the limit is {TOP_K_LIMIT}"
    if _attribute(node, "sorted", 1) == 0:
        yield "only sorted results are supported"
