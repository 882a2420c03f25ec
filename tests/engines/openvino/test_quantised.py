"""Quantised layers are computed right, however large their codes."""

import numpy as np
import onnx
import onnx.compose
import onnx.numpy_helper
import pytest

from refinemask.files import UserError
from tests.support.extreme_layers import expected, extreme_input, extreme_network
from tests.support.tolerances import assert_near

pytest.importorskip("openvino", reason="needs the extra 'openvino'")

from engines.openvino import quantised
from engines.openvino.core import openvino_core
from engines.openvino.executed import EIGHT_BITS, executed_layers
from engines.openvino.quantised import write_for_openvino


def two_layers(operator: str) -> onnx.ModelProto:
    """Two extreme layers: ``plus/layer`` behind a ReLU, and ``both/layer`` behind none."""
    plus, both = (
        onnx.compose.add_prefix(extreme_network(operator, relu=relu), prefix)
        for relu, prefix in ((True, "plus/"), (False, "both/"))
    )
    merged = onnx.compose.merge_graphs(plus.graph, both.graph, io_map=[])
    return onnx.helper.make_model(merged, opset_imports=plus.opset_import, ir_version=plus.ir_version)


@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
def test_extreme_layers_are_right(operator: str) -> None:
    model, x = two_layers(operator), extreme_input(operator)
    layers = write_for_openvino(model, "extreme.onnx")
    core = openvino_core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    network = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
    found = network({"plus/x": x, "both/x": x})
    for prefix, relu in (("plus/", True), ("both/", False)):
        exact = expected(extreme_network(operator, relu=relu), x)
        assert_near(found[f"{prefix}y"], exact, "sums of extreme codes")
    types = [layer.precision for layer in executed_layers(network)]
    assert sum(kind in EIGHT_BITS for kind in types) == len(layers.in_8_bits)
    assert layers.kept == (("both/layer",) if quantised.sums_overflow() else ())
    assert layers.in_8_bits | {*layers.kept} == {"plus/layer", "both/layer"}


@pytest.mark.parametrize(("overflow", "kept"), [(True, ("both/layer",)), (False, ())])
def test_layers_are_kept_only_where_sums_overflow(
    monkeypatch: pytest.MonkeyPatch, overflow: bool, kept: tuple[str, ...]
) -> None:
    monkeypatch.setattr(quantised, "sums_overflow", lambda: overflow)
    assert write_for_openvino(two_layers("Conv"), "extreme.onnx").kept == kept


def test_files_that_have_nothing_to_compute_in_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "sums_overflow", lambda: True)
    with pytest.raises(UserError, match=r"a\.onnx: this CPU has no VNNI, .* each of its 1 quantised layers; run it in"):
        write_for_openvino(extreme_network("Conv", relu=False), "a.onnx")
    model = extreme_network("Conv", relu=True)
    while model.graph.node[-1].op_type == "Conv":
        model.graph.node.pop()
    with pytest.raises(
        UserError, match=r"a\.onnx: says that it is int8, and has no quantised layer; quantise the fp32"
    ):
        write_for_openvino(model, "a.onnx")


def test_a_file_of_an_fp16_export_is_refused() -> None:
    model = extreme_network("Conv", relu=True)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2, np.float16), "half"))
    with pytest.raises(UserError, match=r"a\.onnx: is an int8 file of an fp16 export.*quantise the fp32 export"):
        write_for_openvino(model, "a.onnx")


def test_a_broken_graph_is_one_line() -> None:
    model = extreme_network("Conv", relu=False)
    codes = next(tensor for tensor in model.graph.initializer if tensor.name == "codes")
    codes.raw_data = codes.raw_data[:-1]
    with pytest.raises(UserError, match=r"^a\.onnx: its quantised layers cannot be read: [^\n]*$"):
        write_for_openvino(model, "a.onnx")
