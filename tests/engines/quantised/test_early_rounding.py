"""Rounding before a Concat: the same codes, and only where nothing else can tell."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.inliner
import onnx.parser
import onnxruntime
import pytest

from engines.quantised.codes import write_unsigned
from engines.quantised.early_rounding import round_before_joining
from refinemask.bundled import PHOTOS
from refinemask.contract import INPUTS
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from tests.support.quantised_file import write_int8
from tests.support.tiny_detector import TINY

NETWORK = """
<ir_version: 10, opset_import: ["" : 20, "foreign" : 1]>
network (float[A,3,2] a, float[B,3,2] b, int64[R] order) => (float[R,6] y)
<float s = {0.25}, uint8 z = {128}, float[2] scales = {0.25, 0.5}, uint8[2] zeros = {128, 128}, int8 signed = {0},
 int64[2] shape = {0, -1}>
{
    p = Relu (a)
    n = Neg (b)
    joined = Concat <axis = 0> (p, n)
    picked = Gather <axis = 0> (joined, order)
    cast = CastLike (picked, p)
    rows = Reshape (cast, shape)
    again = Cast <to = 1> (rows)
    q = QuantizeLinear (again, s, z)
    y = DequantizeLinear (q, s, z)
}
"""
RANDOM = np.random.default_rng(0)
ROWS = {
    "a": RANDOM.normal(0, 20, (4, 3, 2)).astype(np.float32),
    "b": RANDOM.normal(0, 20, (3, 3, 2)).astype(np.float32),
    "order": np.array([6, 0, 3, 3, 5]),
}


def as_written(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_codes_are_made_first_and_stay_the_same() -> None:
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(NETWORK))
    before = as_written(model, ROWS)
    assert len(np.unique(before[0])) > 10
    assert round_before_joining(model) == ["q"]
    onnx.checker.check_model(model, full_check=True)
    first, rest = kinds(model)[2:4], kinds(model)[4:]
    assert first == ["QuantizeLinear"] * 2
    assert rest == ["Concat", "Gather", "Reshape", "DequantizeLinear"]
    for ours, theirs in zip(as_written(model, ROWS), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert round_before_joining(model) == [], "it is done"


def test_levels_without_rows() -> None:
    model, inputs = onnx.parser.parse_model(NETWORK), ROWS | {"b": ROWS["b"][:0], "order": np.array([3, 1])}
    before = as_written(model, inputs)
    round_before_joining(model)
    np.testing.assert_array_equal(as_written(model, inputs)[0], before[0])


def other(old: str, new: str) -> Callable[[], onnx.ModelProto]:
    assert old in NETWORK
    return lambda: onnx.parser.parse_model(NETWORK.replace(old, new))


def shown(name: str) -> Callable[[], onnx.ModelProto]:
    """The network with one value more for an output."""

    def make() -> onnx.ModelProto:
        model = onnx.parser.parse_model(NETWORK)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        return model

    return make


@pytest.mark.parametrize(
    "make",
    [
        *map(shown, ("joined", "picked", "rows")),
        other("again = Cast", "twice = Add (rows, rows) again = Cast"),
        other("CastLike (picked, p)", "CastLike (picked, order)"),
        other("rows = Reshape (cast, shape)", "sum = Abs (cast) rows = Reshape (sum, shape)"),
        other("Concat <axis = 0> (p, n)", "Add (p, n)"),
        other("picked = Gather <axis = 0> (joined, order)", "picked = Identity (joined)"),
        other("(again, s, z)", "(again, s, signed)"),
        other("(again, s, z)", "(again, s)"),
        other("(again, s, z)", "<axis = 0> (again, scales, zeros)"),
        other("float[A,3,2] a, float[B,3,2] b", "float16[A,3,2] a, float16[B,3,2] b"),
        other("CastLike (picked, p)", "foreign.CastLike (picked, p)"),
        other("n = Neg (b)", "n = foreign.Neg (b)"),
    ],
)
def test_what_stays(make: Callable[[], onnx.ModelProto]) -> None:
    model = make()
    before = model.SerializeToString()
    assert round_before_joining(model) == []
    assert model.SerializeToString() == before


def test_boxes_and_masks_of_a_file(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    model = onnx.load(write_int8(tiny_files[1], tmp_path / "tiny-int8.onnx"))
    write_unsigned(model.graph)
    model = onnx.inliner.inline_local_functions(model)
    batch = preprocess([read_image(path) for path in sorted(PHOTOS.rglob("*.jpg"))[:2]], TINY.preprocessing)
    inputs: dict[str, np.ndarray] = dict(zip(INPUTS, (batch.images, batch.image_sizes), strict=True))
    del model.graph.value_info[:]  # of codes with a sign
    before = as_written(model, inputs)
    assert len(round_before_joining(model)) == 2
    onnx.checker.check_model(model, full_check=True)
    for ours, theirs in zip(as_written(model, inputs), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
