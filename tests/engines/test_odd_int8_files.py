"""int8 files that no quantiser of ours writes: each gives what it says, as it is written, or is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

import engines
from refinemask.files import UserError
from tests.support.mutations import refusal
from tests.support.tolerances import assert_near
from tests.support.toy_int8 import CHANNELS, LAYERS, as_written, node_of, put, toy_int8, value

Edit = Callable[[onnx.ModelProto], Any]
Batch = tuple[np.ndarray, np.ndarray]
BACKENDS = ("onnxruntime", "openvino")
make_node, make_attribute = onnx.helper.make_node, onnx.helper.make_attribute


@pytest.fixture(scope="module")
def batch() -> Batch:
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 64, 96), dtype=np.uint8)
    return images, np.array([[64, 96], [50, 80]], np.int64)


def insert_before(model: onnx.ModelProto, output: str, *nodes: onnx.NodeProto) -> None:
    place = [node.output[0] for node in model.graph.node].index(output)
    for node in reversed(nodes):
        model.graph.node.insert(place, node)


def set_inputs(places: dict[str, dict[int, str]], **constants: Any) -> Edit:
    """Adds constants, and has nodes, by their outputs, read other tensors."""

    def edit(model: onnx.ModelProto) -> None:
        for name, constant in constants.items():
            put(model, name, constant)
        for output, inputs in places.items():
            for place, name in inputs.items():
                node_of(model, output).input[place] = name

    return edit


def drop_inputs(*outputs: str, left: int) -> Edit:
    """Leaves only the first inputs of some nodes."""

    def edit(model: onnx.ModelProto) -> None:
        for output in outputs:
            del node_of(model, output).input[left:]

    return edit


def change(name: str, make: Callable[[np.ndarray], Any]) -> Edit:
    """Replaces a constant."""
    return lambda model: put(model, name, make(value(model, name)))


def one(number: float) -> Callable[[np.ndarray], np.ndarray]:
    """An array with another last number, or another number where it is one."""

    def edit(array: np.ndarray) -> np.ndarray:
        array[..., -1:] = number
        return array

    return lambda array: edit(array) if array.ndim else np.float32(number)


def add_attributes(output: str, **given: Any) -> Edit:
    return lambda model: node_of(model, output).attribute.extend(make_attribute(*entry) for entry in given.items())


def several(*edits: Edit) -> Edit:
    return lambda model: [edit(model) for edit in edits]


def between(output: str, *nodes: onnx.NodeProto, place: int = 0, **constants: Any) -> Edit:
    """Inserts nodes of which the last one is read by the node that makes ``output``."""

    def edit(model: onnx.ModelProto) -> None:
        insert_before(model, output, *nodes)
        for name, constant in constants.items():
            put(model, name, constant)
        node_of(model, output).input[place] = nodes[-1].output[0]

    return edit


def in_branch(output: str) -> Edit:
    """Moves a node into the branches of an If."""

    def edit(model: onnx.ModelProto) -> None:
        moved = onnx.NodeProto()
        moved.CopyFrom(node_of(model, output))
        moved.output[0] = "inner"
        made = [onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, None)]
        branch = onnx.helper.make_graph([moved], "branch", [], made)
        node = node_of(model, output)
        node.CopyFrom(make_node("If", ["yes"], [output], "If", then_branch=branch, else_branch=branch))
        put(model, "yes", np.array(True))

    return edit


def as_function(output: str, *body: onnx.NodeProto) -> Edit:
    """Has a function of the file compute a node under the name of its operator, which is another one's then."""

    def edit(model: onnx.ModelProto) -> None:
        node, version = node_of(model, output), onnx.helper.make_opsetid("", 20)
        inputs = [f"x{place}" for place in range(len(node.input))]
        kept = [attribute.name for attribute in node.attribute]
        node.domain = "refinemask"
        function = onnx.helper.make_function("refinemask", node.op_type, inputs, ["y"], list(body), [version], kept)
        model.functions.append(function)

    return edit


WEIGHT_3 = several(*(change(f"{name}_zeros", lambda zeros: zeros + np.int8(3)) for name in LAYERS))
UNSIGNED = change("narrow_codes", lambda codes: (codes.astype(np.int16) + 128).astype(np.uint8))
NEGATED = (make_node("Neg", ["x0"], ["y"]),)
SQUARED = (make_node("Conv", ["x0", "x1", "x2"], ["c"]), make_node("Mul", ["c", "c"], ["y"]))

COMPUTED: dict[str, Edit] = {
    **{f"q{n} restored with another scale": set_inputs({f"d{n}": {1: "s"}}, s=np.float32(0.375)) for n in range(4)},
    **{f"q{n} restored with another zero": set_inputs({f"d{n}": {2: "z"}}, z=np.int8(5)) for n in range(4)},
    **{
        f"q{n} with a zero point of {zero!r}": set_inputs({f"q{n}": {2: "z"}, f"d{n}": {2: "z"}}, z=zero)
        for n in range(4)
        for zero in (np.int8(5), np.uint8(0), np.uint8(128))
    },
    **{f"q{n} unsigned": drop_inputs(f"q{n}", f"d{n}", left=2) for n in range(4)},
    **{f"q{n} without a zero to restore": drop_inputs(f"d{n}", left=2) for n in range(4)},
    **{
        f"codes of q{n} read as they are": several(
            between(f"d{n}", make_node("Cast", [f"q{n}"], ["cast"], to=1), make_node("Cast", ["cast"], ["back"], to=3)),
        )
        for n in range(4)
    },
    "scales for each channel of an input": several(
        set_inputs(
            {"q1": {1: "s", 2: "z"}, "d1": {1: "s", 2: "z"}},
            s=np.exp2(-(np.arange(CHANNELS) % 3) - 3).astype(np.float32),
            z=np.zeros(CHANNELS, np.int8),
        ),
    ),
    "zero points of weights": WEIGHT_3,
    "codes of a weight unsigned": several(
        UNSIGNED, change("narrow_zeros", lambda zeros: np.full(CHANNELS, 128, np.uint8))
    ),
    "scales along the inputs of a product": several(
        lambda model: setattr(node_of(model, "linear_weight").attribute[0], "i", -1),
        change("linear_scales", lambda scales: scales[:CHANNELS]),
        change("linear_zeros", lambda zeros: zeros[:CHANNELS]),
    ),
    "one bias for all outputs": change("linear_bias", lambda bias: bias[:1] + np.float32(0.5)),
    **{f"no bias of {name}": drop_inputs(name, left=2) for name in LAYERS},
    "a factor": add_attributes("linear", alpha=0.5, beta=2.0),
    "a bias finer than the sums' steps": several(
        change("s0", lambda scale: np.float32(2**20)), change("wide_scales", lambda scales: scales * 64)
    ),
    "the lowest code": several(*(change(f"{name}_codes", lambda codes: np.full_like(codes, -128)) for name in LAYERS)),
    "groups": several(change("wide_codes", lambda codes: codes[:, :4]), add_attributes("wide", group=4)),
    "dilated": several(
        lambda model: node_of(model, "wide").ClearField("attribute"),
        add_attributes("wide", dilations=[2, 3], pads=[3, 3, 1, 3]),
    ),
    "padded by the runtime": several(
        lambda model: node_of(model, "wide").ClearField("attribute"), add_attributes("wide", auto_pad="SAME_UPPER")
    ),
    "two layers with one weight": lambda model: node_of(model, "signed").input.__setitem__(1, "narrow_weight"),
    "a function called Relu": as_function("seen", *NEGATED),
    "a function called Relu before codes": as_function("wide_seen", *NEGATED),
    "a function called Conv": as_function("narrow", *SQUARED),
    "a layer in a branch": in_branch("signed"),
    "restored in a branch": in_branch("d2"),
    "a sum in a branch": in_branch("added"),
    "cut below zero": between(
        "q0", make_node("Clip", ["seen", "low", "high"], ["cut"]), low=np.float32(0), high=np.float32(-2)
    ),
    "cut from above below zero": between("q0", make_node("Clip", ["seen", "", "high"], ["cut"]), high=np.float32(-0.5)),
    "restored below zero": between(
        "q0",
        make_node("QuantizeLinear", ["seen", "s0", "zero"], ["first"], "first"),
        make_node("DequantizeLinear", ["first", "s0", "forty"], ["below"], "below"),
        forty=np.int8(40),
    ),
    "a border below zero": between(
        "q0",
        make_node(
            "Resize",
            ["seen", "roi", "factors"],
            ["resized"],
            mode="linear",
            coordinate_transformation_mode="tf_crop_and_resize",
            extrapolation_value=-1.5,
        ),
        roi=np.array([0, 0, -0.5, -0.5, 1, 1, 1.5, 1.5], np.float32),
        factors=np.ones(4, np.float32),
    ),
    "another reader with another zero": between(
        "added", make_node("DequantizeLinear", ["q0", "s0", "z"], ["other"], "other"), place=1, z=np.int8(17)
    ),
    "another reader with an equal zero": between(
        "added", make_node("DequantizeLinear", ["q0", "s0", "z"], ["other"], "other"), place=1, z=np.int8(0)
    ),
    "rounded twice": between(
        "wide",
        make_node("QuantizeLinear", ["d0", "s0", "zero"], ["again"], "again"),
        make_node("DequantizeLinear", ["again", "s0", "zero"], ["twice"], "twice"),
    ),
}
"""Files that ONNX Runtime computes as they are written; OpenVINO does, too, or refuses them."""

NUMBERS = {
    f"{name} of {number}": change(name, one(number))
    for name in ("s0", "s1", "s2", "s3", *(f"{layer}_scales" for layer in LAYERS))
    for number in (0.0, -0.0625, np.nan, np.inf, 1e-40, 3e38)
} | {f"{name}_bias of {number}": change(f"{name}_bias", one(number)) for name in LAYERS for number in (np.nan, np.inf)}
"""Files whose numbers nobody can compute with."""


def write(path: Path, edit: Edit) -> Path:
    model = toy_int8()
    edit(model)
    onnx.save(model, path)
    return path


def load(path: Path, backend: str) -> engines.Engine:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    return engines.load(path, backend=backend, threads=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_file_itself_is_computed(backend: str, batch: Batch, tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", lambda model: None)
    for found, expected in zip(load(path, backend).infer(*batch), as_written(path, *batch), strict=True):
        assert_near(found, expected, "numbers of odd int8 files")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", COMPUTED)
def test_the_numbers_are_those_of_the_file(name: str, backend: str, batch: Batch, tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", COMPUTED[name])
    wanted = as_written(path, *batch)
    assert np.isfinite(wanted.masks).all()
    assert np.ptp(wanted.masks) > 0
    if backend == "openvino" and refusal(lambda: load(path, backend)) is not None:
        return
    found = load(path, backend).infer(*batch)
    for own, expected in zip(found, wanted, strict=True):
        assert_near(own, expected, "numbers of odd int8 files")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_scale_is_refused(name: str, backend: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.onnx: \w+ has .* quantise the fp32 export again"):
        load(write(tmp_path / "a.onnx", NUMBERS[name]), backend)
