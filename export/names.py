"""Names of an exported graph's nodes: the module that computes them, as a profile or a calibration shows them."""

import ast
from collections import Counter

import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's note on a node: the modules around it, outermost first, then its own name."""


def name_by_module(graph: ir.Graph, root: str) -> None:
    """Call each node ``MODULE/OPERATOR``, such as ``backbone.layer1.0.conv1/Conv``, with a number from the second on.

    Such names do not depend on the precision or on what is dynamic, as the exporter's running numbers do.

    Args:
        graph: a graph with the exporter's notes, changed in place.
        root: the module whose name begins all others, and is left out.
    """
    taken: Counter[str] = Counter()
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
        module = scopes[-2].removeprefix(root).removeprefix(".") if len(scopes) > 1 else ""
        name = "/".join(filter(None, (module, node.op_type)))
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
