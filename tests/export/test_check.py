"""What the checker finds in files that a TensorRT parser would refuse."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from export.check import Args, Target, body_problems, main, problems


@pytest.fixture
def model(tiny_files: tuple[Path, Path]) -> ir.Model:
    return ir.load(tiny_files[1])


def node(model: ir.Model, kind: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == kind)


@pytest.mark.parametrize("target", ["tensorrt-10", "tensorrt-11", "rtx"])
def test_an_export_passes(model: ir.Model, target: Target) -> None:
    assert problems(model, target) == []


def test_bodies_that_rtx_cannot_build(model: ir.Model) -> None:
    found = body_problems(model, "rtx")
    assert [reason.split(":")[0] for reason in found["MultilevelRoIAlign4"]] == ["NonZero", "RoiAlign"]
    assert [reason.split(":")[0] for reason in found["FixedNMS"]] == ["NonMaxSuppression"]
    assert found["BoundaryMerge"] == []
    assert not any(body_problems(model, "tensorrt-10").values())


def forget_namespace(model: ir.Model) -> None:
    del node(model, "FixedNMS").attributes["plugin_namespace"]


def rename_plugin(model: ir.Model) -> None:
    node(model, "BoundaryMerge").op_type = "Merge"


def large_top_k(model: ir.Model) -> None:
    k = ir.Value(name="k", const_value=ir.tensor(np.array([5000])), type=ir.TensorType(ir.DataType.INT64))
    node(model, "TopK").replace_input_with(1, k)


def unsorted_top_k(model: ir.Model) -> None:
    node(model, "TopK").attributes.add(ir.AttrInt64("sorted", 0))


def standard_name(model: ir.Model) -> None:
    _, function = model.functions.popitem()
    function.name = "RoiAlign"
    model.functions[function.identifier()] = function


def two_of_one_name(model: ir.Model) -> None:
    function = next(iter(model.functions.values())).clone()
    function.domain = "other"
    model.functions[function.identifier()] = function


def other_opset(model: ir.Model) -> None:
    next(iter(model.functions.values())).opset_imports[""] = 18


def unknown_operator(model: ir.Model) -> None:
    node(model, "Softmax").op_type = "Unique"


def double(model: ir.Model) -> None:
    node(model, "Softmax").outputs[0].dtype = ir.DataType.DOUBLE


def antialias(model: ir.Model) -> None:
    node(model, "Resize").attributes.add(ir.AttrInt64("antialias", 1))


def bytes_in_arithmetic(model: ir.Model) -> None:
    node(model, "Shape").replace_input_with(0, model.graph.inputs[0])


def foreign(model: ir.Model) -> None:
    model.metadata_props.clear()


def found_masks(model: ir.Model) -> None:
    model.metadata_props["masks"] = "found"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (foreign, "lacks config, precision, bounds"),
        (found_masks, "export with --masks all"),
        (forget_namespace, "plugin_namespace"),
        (rename_plugin, "no plugin of ours"),
        (large_top_k, "the limit is 3840"),
        (unsorted_top_k, "sorted"),
        (standard_name, "a standard operator has this name"),
        (two_of_one_name, "several functions"),
        (other_opset, "operator set 18"),
        (unknown_operator, "not supported by tensorrt-10"),
        (double, "DOUBLE"),
        (antialias, "antialias"),
        (bytes_in_arithmetic, "must be cast first"),
    ],
)
def test_damage_is_found(model: ir.Model, damage: Callable[[ir.Model], None], message: str) -> None:
    damage(model)
    found = problems(model, "tensorrt-10")
    assert len(found) == 1, found
    assert message in found[0]


def test_command_line(tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(tiny_files[1], target="rtx")) == 0
    assert "no problems for rtx" in capsys.readouterr().out
    broken = tmp_path / "broken.onnx"
    model = ir.load(tiny_files[1])
    forget_namespace(model)
    ir.save(model, broken)
    assert main(Args(broken)) == 1
    assert "1 problem for tensorrt-10" in capsys.readouterr().out
    broken.write_bytes(b"no protobuf")
    assert main(Args(broken)) == 2
    assert main(Args(tmp_path / "absent.onnx")) == 2
    assert capsys.readouterr().err.count("error: ") == 2
