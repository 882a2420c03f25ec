"""Nodes and constants that replace those of a graph."""

from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from numpy.typing import NDArray

from engines.quantised.layers import read_by


class NewNodes:
    """The nodes of a graph that is written anew, in order."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, inputs: list[str], *outputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node; returns its first output."""
        self.nodes.append(
            onnx.helper.make_node(kind, inputs, outputs, f"{outputs[0]}/{kind}", domain=domain, **attributes)
        )
        return outputs[0]

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Have a constant, if it is not there yet; returns its name."""
        if name not in self._constants:
            self._constants[name] = onnx.numpy_helper.from_array(value, name)
        return name

    def numbers(self, *values: int) -> str:
        """Have a constant of whole numbers; returns its name."""
        return self.constant(f"numbers.{'.'.join(map(str, values))}", np.array(values, np.int64))

    def replace(self) -> None:
        """Put the nodes in the place of the graph's own, without those that nobody reads."""
        read, kept = {value.name for value in self._graph.output}, list[onnx.NodeProto]()
        for node in reversed(self.nodes):
            if read.intersection(node.output):
                read.update(read_by(node))
                kept.append(node)
        tensors = [tensor for tensor in (*self._graph.initializer, *self._constants.values()) if tensor.name in read]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(reversed(kept))
        self._graph.initializer.extend(tensors)
