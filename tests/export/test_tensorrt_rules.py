"""What is found in files that a TensorRT parser would refuse."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from export import Finding, check_onnx
from export.tensorrt_rules import Target, check_model
from refinemask.files import UserError


@pytest.fixture
def model(tiny_files: tuple[Path, Path]) -> ir.Model:
    return ir.load(tiny_files[1])


def node(model: ir.Model, kind: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == kind)


def of_graph(model: ir.Model, target: Target) -> list[Finding]:
    return [finding for finding in check_model(model, target) if finding.body is None]


@pytest.mark.parametrize("target", ["tensorrt-10", "tensorrt-11", "rtx"])
def test_an_export_passes(model: ir.Model, target: Target) -> None:
    assert of_graph(model, target) == []


def test_before_10_7_bodies_win_so_a_file_must_have_none(model: ir.Model) -> None:
    names = ", ".join(function.name for function in model.functions.values())
    (finding,) = of_graph(model, "tensorrt-10.3")
    assert finding.where == f"bodies of {names}"
    assert finding.reason == "tensorrt-10.3 takes them although the plugins are loaded; export with --no-bodies"
    model.functions.clear()
    assert check_model(model, "tensorrt-10.3") == []


@pytest.mark.parametrize(
    ("target", "bodies", "found"),
    [
        ("tensorrt-10.3", False, False),
        ("tensorrt-10", False, False),
        ("tensorrt-11", False, True),
        ("rtx", False, True),
        ("tensorrt-11", True, False),
        ("rtx", True, False),
    ],
)
def test_the_domain_names_the_plugin_of_a_node_without_a_body(
    model: ir.Model, target: Target, bodies: bool, found: bool
) -> None:
    """From 10.10 on; before, and wherever there is a body, the attribute alone does."""
    forget_namespace(model)
    if not bodies:
        model.functions.clear()
    reasons = [finding.reason for finding in of_graph(model, target)]
    assert reasons == ["attribute plugin_namespace is '', expected 'refinemask': the plugin would not be found"] * (
        not found
    )


@pytest.mark.parametrize(
    ("target", "opset", "ir_version"),
    [("tensorrt-10.3", 20, 10), ("tensorrt-10", 22, 10), ("tensorrt-11", 24, 13), ("rtx", 24, 12)],
)
def test_the_newest_that_a_parser_knows(model: ir.Model, target: Target, opset: int, ir_version: int) -> None:
    model.functions.clear()
    model.opset_imports[""], model.ir_version = opset, ir_version
    assert of_graph(model, target) == []
    model.opset_imports[""], model.ir_version = opset + 1, ir_version + 1
    assert [str(finding) for finding in of_graph(model, target)] == [
        f"operator set {opset + 1}: expected 9 to {opset} for {target}; export without --opset",
        f"file format (IR version) {ir_version + 1}: {target} knows {ir_version} and may leave out what is newer; "
        "export it again",
    ]


@pytest.mark.parametrize(
    ("target", "builds"), [("tensorrt-10.3", True), ("tensorrt-10", True), ("tensorrt-11", False), ("rtx", False)]
)
def test_transposed_convolutions_in_bfloat16(target: Target, builds: bool) -> None:
    """Files of Mask R-CNN in bfloat16 had one up to 0.5.0."""
    x, w, y = (ir.Value(name=name, type=ir.TensorType(ir.DataType.BFLOAT16)) for name in "xwy")
    node = ir.node("ConvTranspose", [x, w], outputs=[y], name="up")
    model = ir.Model(ir.Graph([x, w], [y], nodes=[node], opset_imports={"": 20}), ir_version=10)
    found = [str(finding) for finding in of_graph(model, target) if finding.where != "metadata"]
    assert found == [f"ConvTranspose up: {target} has no implementation in bfloat16; export it again"] * (not builds)
    y.dtype = ir.DataType.FLOAT16
    assert [finding.where for finding in of_graph(model, target)] == ["metadata"]


def test_bodies_that_rtx_cannot_build(model: ir.Model) -> None:
    found = [(finding.body, finding.where) for finding in check_model(model, "rtx")]
    assert found == [
        ("MultilevelRoIAlign4", "NonZero"),
        ("MultilevelRoIAlign4", "RoiAlign"),
        ("MultilevelRoIAlign1", "RoiAlign"),
        ("FixedNMS", "NonMaxSuppression"),
    ]
    assert check_model(model, "tensorrt-10") == []


def forget_namespace(model: ir.Model) -> None:
    del node(model, "FixedNMS").attributes["plugin_namespace"]


def rename_plugin(model: ir.Model) -> None:
    node(model, "BoundaryMerge").op_type = "Merge"


def add_top_k(model: ir.Model) -> ir.Node:
    """A node of TopK, of which an export has none."""
    scores = node(model, "TopScores").inputs[0]
    added = ir.node("TopK", [scores, None], num_outputs=2, name="TopK")
    model.graph.append(added)
    return added


def large_selection(model: ir.Model) -> None:
    node(model, "TopScores").attributes.add(ir.AttrInt64("k", 3841))


def large_top_k(model: ir.Model) -> None:
    k = ir.Value(name="k", const_value=ir.tensor(np.array([5000]), name="k"), type=ir.TensorType(ir.DataType.INT64))
    model.graph.register_initializer(k)
    add_top_k(model).replace_input_with(1, k)


def unsorted_top_k(model: ir.Model) -> None:
    add_top_k(model).attributes.add(ir.AttrInt64("sorted", 0))


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
    ("damage", "where", "reason"),
    [
        (foreign, "metadata", "lacks config, precision, bounds"),
        (found_masks, "masks found", "export with --masks all"),
        (forget_namespace, "FixedNMS FixedNMS", "plugin_namespace"),
        (rename_plugin, "Merge ", "no plugin of ours"),
        (large_selection, "TopScores ", "the limit is 3840"),
        (large_top_k, "TopK ", "the limit is 3840"),
        (unsorted_top_k, "TopK ", "sorted"),
        (standard_name, "function RoiAlign", "a standard operator has this name"),
        (two_of_one_name, "function ", "several functions"),
        (other_opset, "function ", "operator set 18"),
        (unknown_operator, "Unique ", "not supported by tensorrt-10"),
        (double, "tensor ", "DOUBLE"),
        (antialias, "Resize ", "antialias"),
        (bytes_in_arithmetic, "input images", "must be cast first"),
    ],
)
def test_damage_is_found(
    tiny_files: tuple[Path, Path], tmp_path: Path, damage: Callable[[ir.Model], None], where: str, reason: str
) -> None:
    model, path = ir.load(tiny_files[1]), tmp_path / "damaged.onnx"
    damage(model)
    ir.save(model, path)
    (finding,) = check_onnx(path)
    assert finding.body is None
    assert finding.where.startswith(where)
    assert reason in finding.reason
    assert str(finding) == f"{finding.where}: {finding.reason}"


def test_the_verb_prints_nothing(tiny_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert check_onnx(tiny_files[1]) == []
    assert check_onnx(tiny_files[1], "rtx")
    with pytest.raises(UserError, match=r"target 'rtx-2': expected tensorrt-10\.3, tensorrt-10, tensorrt-11, rtx"):
        check_onnx(tiny_files[1], "rtx-2")  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "")
