"""Reading files that are no graphs, and weights that lie beside theirs."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from export.reading import read_model
from refinemask.files import UserError


def write(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", values[:1], values[1:])), path)
    return path


def test_two_nodes_of_one_output_are_no_graph(tmp_path: Path) -> None:
    path = write(
        tmp_path / "twice.onnx", [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])]
    )
    with pytest.raises(UserError, match=r"twice.onnx: not a readable ONNX file: .*export it again"):
        read_model(path)


def test_weights_beside_the_file_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "beside.onnx", [helper.make_node("Add", ["x", "w"], ["y"])])
    model, weight = ir.load(path), np.arange(2, dtype=np.float32)
    value = ir.Value(name="w", const_value=ir.tensor(weight, name="w"))
    model.graph.register_initializer(value)
    ir.save(model, path, external_data="beside.data", size_threshold_bytes=0)
    monkeypatch.chdir(path.root)
    read = read_model(path).graph.initializers["w"].const_value
    assert isinstance(read, ir.ExternalTensor)
    np.testing.assert_array_equal(read.numpy(), weight)
