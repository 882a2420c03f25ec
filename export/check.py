"""What would stop a TensorRT parser or builder, before there is one: ``python -m export.check model.onnx``.

Rules are those of the parsers' documentation (TensorRT 10 and 11) and of single-operator builds (TensorRT-RTX 1.7).
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx.defs
import onnx_ir as ir
import tyro
from onnx_ir import DataType

from refinemask.contract import DOMAIN, OPERATORS, PLUGIN_ATTRIBUTES, missing_properties
from refinemask.files import UserError

Target = Literal["tensorrt-10", "tensorrt-11", "rtx"]

OPSETS = range(9, 25)
TOP_K_LIMIT = 3840
PLUGINS = {operator.name for operator in OPERATORS}

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


def problems(model: ir.Model, target: Target) -> list[str]:
    """What stops ``target`` from building the file with the plugins loaded; empty when nothing does."""
    found = [*_file_problems(model)]
    for node in model.graph.all_nodes():
        reasons = _custom_problems(node, model) if node.domain else _node_problems(node, target)
        found += [f"{node.op_type} {node.name}: {reason}" for reason in reasons]
    return found


def body_problems(model: ir.Model, target: Target) -> dict[str, list[str]]:
    """For each body, what stops ``target`` from building it where its plugin is not loaded."""
    found = {}
    for function in model.functions.values():
        reasons = [
            f"{node.op_type}: {reason}" for node in function.all_nodes() for reason in _node_problems(node, target)
        ]
        found[function.name] = list(dict.fromkeys(reasons))
    return found


def _file_problems(model: ir.Model) -> Iterator[str]:
    if missing := missing_properties(model.metadata_props):
        yield f"metadata: lacks {', '.join(missing)}, so engines.build refuses it: not a file of export.to_onnx"
    if model.metadata_props.get("masks") == "found":
        yield "masks found: shapes depend on the image, so engines.build refuses it; export with --masks all"
    opset = model.opset_imports.get("", 0)
    if opset not in OPSETS:
        yield f"operator set {opset}: expected {OPSETS.start} to {OPSETS.stop - 1}"
    names = [function.name for function in model.functions.values()]
    for name in dict.fromkeys(names):
        # The parser knows functions by name alone, and its own importers come first.
        if names.count(name) > 1:
            yield f"function {name}: several functions of this name"
        if onnx.defs.has(name):
            yield f"function {name}: a standard operator has this name, and the parser takes that"
    for function in model.functions.values():
        if function.opset_imports.get("") != opset:
            yield f"function {function.name}: operator set {function.opset_imports.get('')}, the model's is {opset}"
    computed = (output for node in model.graph.all_nodes() for output in node.outputs)
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *computed):
        if value.dtype is not None and value.dtype not in TYPES:
            yield f"tensor {value.name}: type {value.dtype} is not supported"
    for value in model.graph.inputs:
        if value.dtype == DataType.UINT8 and any(node.op_type != "Cast" for node in value.consumers()):
            yield f"input {value.name}: uint8 is for network inputs alone, they must be cast first"


def _custom_problems(node: ir.Node, model: ir.Model) -> Iterator[str]:
    if node.domain != DOMAIN or node.op_type not in PLUGINS:
        yield f"no plugin of ours has the name {node.domain}::{node.op_type}"
    for name, expected in PLUGIN_ATTRIBUTES.items():
        value = node.attributes.get_string(name, "")
        if value != expected:
            # From 10.15 on a plugin is taken in place of a body only for this attribute's sake.
            yield f"attribute {name} is {value!r}, expected {expected!r}: the plugin would not be found"
    if node.overload:
        yield "the parser knows no overloads"


def _node_problems(node: ir.Node, target: Target) -> Iterator[str]:
    if node.op_type not in STANDARD:
        yield f"not supported by {target}"
    if target == "rtx":
        yield from _rtx_problems(node)
    if node.op_type == "TopK":
        yield from _top_k_problems(node)
    if node.op_type == "Resize" and node.attributes.get_int("antialias"):
        yield "antialias is not supported"
    if node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") not in ("nearest", "linear"):
        yield "only nearest and linear are supported"
    if node.op_type in ("ScatterND", "ScatterElements") and node.attributes.get_string("reduction", "none") != "none":
        yield "a reduction is not supported"


def _rtx_problems(node: ir.Node) -> Iterator[str]:
    if node.op_type in MISSING_IN_RTX:
        yield MISSING_IN_RTX[node.op_type]
    if node.op_type == "ConvTranspose" and node.outputs[0].dtype == DataType.BFLOAT16:
        yield "TensorRT-RTX has no implementation in bfloat16"


def _top_k_problems(node: ir.Node) -> Iterator[str]:
    k = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    if k is not None and int(k.numpy().max()) > TOP_K_LIMIT:
        yield f"k is {int(k.numpy().max())}, the limit is {TOP_K_LIMIT}"
    if node.attributes.get_int("sorted") == 0:
        yield "only sorted results are supported"


@dataclass(frozen=True)
class Args:
    """List what would stop TensorRT from building an exported file."""

    model: tyro.conf.Positional[Path]
    target: Target = "tensorrt-10"


def main(args: Args | None = None) -> int:
    """Run the command line: exit code 1 when something stops the target, 2 when there is no such file."""
    args = args or tyro.cli(Args)
    try:
        model = load(args.model)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = problems(model, args.target)
    for line in found:
        print(line)
    print(f"{args.model}: {len(found) or 'no'} problem{'s' * (len(found) != 1)} for {args.target} with the plugins")
    for name, reasons in body_problems(model, args.target).items():
        print(f"  without its plugin, {name} {'fails: ' + '; '.join(reasons) if reasons else 'falls back to its body'}")
    return 1 if found else 0


def load(path: Path) -> ir.Model:
    """Read an ONNX file.

    Raises:
        UserError: it is missing or no ONNX file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        return ir.load(path)
    except Exception as error:  # protobuf and the reader raise a dozen kinds
        raise UserError(f"{path}: not an ONNX file; export one with python -m export.to_onnx") from error


if __name__ == "__main__":
    raise SystemExit(main())
