"""Selections of the best scores by ``refinemask::top_k``, joined.

A selection on a GPU is a chain of small kernels. Those of RPN's levels do not wait for one another, so one chain serves
all of them.
"""

import operator
from collections.abc import Iterable

import torch
from torch import fx

import refinemask.ops.top_k  # noqa: F401  defines the operators
from trt_plugins.problems import MAX_TOP_K_SEGMENTS

_aten, _ours = torch.ops.aten, torch.ops.refinemask


def join_top_k(module: fx.GraphModule) -> int:
    """Join calls of ``refinemask::top_k`` that do not depend on one another into one of ``top_k_segments`` each.

    They select as many of float32 matrices with the same number of rows.

    Args:
        module: an exported program's module without operations in place, changed in place.

    Returns:
        The number of calls that were joined.
    """
    joined = 0
    # Anew after each, because calls of two kinds may depend on one another once some are one.
    while calls := _siblings(module.graph):
        _join(module.graph, calls)
        joined += len(calls)
    module.recompile()
    return joined


def _siblings(graph: fx.Graph) -> list[fx.Node]:
    """The first calls in the graph that can be one, in order; none if there are no such."""
    calls = [node for node in graph.nodes if node.target is _ours.top_k.default and type(_length(node)) is int]
    for place, first in enumerate(calls):
        family = [first]
        for call in calls[place + 1 :]:
            # A call can only depend on earlier ones.
            if _kind(call) == _kind(first) and _sources([call]).isdisjoint(family):
                family.append(call)
        if len(family) > 1:
            return family[:MAX_TOP_K_SEGMENTS]
    return []


def _kind(call: fx.Node) -> tuple[object, ...]:
    """What calls must have in common: number of results, number of rows, type and device."""
    values, _ = call.meta["val"]
    return call.args[1], values.shape[0], values.dtype, values.device


def _length(call: fx.Node) -> int:
    """The number of scores in a row that a call selects from; a ``SymInt`` where it varies."""
    length: int = call.all_input_nodes[0].meta["val"].shape[1]
    return length


def _sources(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes, and all that they depend on."""
    found: set[fx.Node] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
    return found


def _join(graph: fx.Graph, calls: list[fx.Node]) -> None:
    first, needed = calls[0], _sources(calls).difference(calls)
    nodes = list(graph.nodes)
    for node in nodes[nodes.index(first) :]:
        if node in needed:
            first.prepend(node)
    with graph.inserting_before(first):
        scores = graph.call_function(_aten.cat.default, ([call.args[0] for call in calls], 1))
        lengths = [_length(call) for call in calls]
        joined = graph.call_function(_ours.top_k_segments.default, (scores, lengths, first.args[1]))
        results: dict[object, fx.Node] = {
            place: graph.call_function(operator.getitem, (joined, place)) for place in range(2)
        }
        for segment, call in enumerate(calls):
            for user in list(call.users):
                part = graph.call_function(_aten.select.int, (results[user.args[1]], 0, segment))
                part.meta = dict(user.meta)
                user.replace_all_uses_with(part)
                graph.erase_node(user)
    for call in calls:
        graph.erase_node(call)
