"""Data of an exported file lie in its own folder, wherever in the file they are named, or no reader opens it."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import engines
from engines.trt.plan import BuildOptions, make_plan
from export import check_onnx, quantize_onnx
from refinemask.external_data import require_data_inside
from refinemask.files import UserError
from tests.support.toy_onnx import write_toy_onnx


def external(location: str) -> TensorProto:
    tensor = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "data")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def as_initializer(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def as_attribute(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def as_subgraph(model: onnx.ModelProto, tensor: TensorProto) -> None:
    graph = helper.make_graph([], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=graph, else_branch=graph))


def as_function(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.functions[0].node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def as_sparse(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)


def as_training(model: onnx.ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [as_initializer, as_attribute, as_subgraph, as_function, as_sparse, as_training]
Place = Callable[[onnx.ModelProto, TensorProto], None]


def write(path: Path, location: str, place: Place = as_initializer) -> Path:
    model = onnx.load(write_toy_onnx(path))
    place(model, external(location))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("place", PLACES)
def test_data_outside_the_folder_are_refused_wherever_they_are_named(tmp_path: Path, place: Place) -> None:
    with pytest.raises(UserError, match=r"m\.onnx: keeps data in '/etc/passwd', expected"):
        require_data_inside(write(tmp_path / "m.onnx", "/etc/passwd", place))


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "link", "linked/secret", "", "*/_ORT_MEM_ADDR_/*", "a\0b", "..\\x"],
)
def test_data_outside_the_folder_are_refused_however_they_are_named(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(12))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(12))
    with pytest.raises(UserError, match=r"m\.onnx: keeps data in .*(outside its folder|in its own folder)"):
        require_data_inside(write(folder / "m.onnx", location))


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.onnx: its data file 'weights/w\.bin' is missing"):
        require_data_inside(write(tmp_path / "m.onnx", "weights/w.bin"))


@pytest.mark.parametrize("name", ["w.bin", "weights/w.bin", "./w.bin", "ä b.bin"])
def test_data_in_the_folder_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = write(tmp_path / "m.onnx", name)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(bytes(12))
    require_data_inside(path)
    monkeypatch.chdir(tmp_path)
    require_data_inside("m.onnx")
    monkeypatch.chdir("/")
    require_data_inside(os.path.relpath(path))


READERS: dict[str, Callable[[Path], object]] = {
    "ONNX Runtime": lambda path: engines.load(path),
    "OpenVINO": lambda path: engines.load(path, backend="openvino"),
    "export.check": check_onnx,
    "engines.build": lambda path: make_plan(path, BuildOptions(bodies=True)),
    "export.quantize": lambda path: quantize_onnx(path, path.with_name("q.onnx"), images=path.parent, ranges=path),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_them(tmp_path: Path, reader: str) -> None:
    if reader == "OpenVINO":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    with pytest.raises(UserError, match=r"m\.onnx: keeps data in '\.\./x', which is outside its folder"):
        READERS[reader](write(tmp_path / "m.onnx", "../x"))


def test_a_field_with_a_number_of_more_than_32_bits_hides_nothing(tmp_path: Path) -> None:
    """Readers of protocol buffers drop the upper bits of such a number."""
    path = write(tmp_path / "m.onnx", "/etc/passwd")
    graph = onnx.load(path, load_external_data=False).graph.SerializeToString()
    path.write_bytes(_varint((1 << 32) + (7 << 3 | 2)) + _varint(len(graph)) + graph)
    with pytest.raises(UserError, match="cut or damaged"):
        require_data_inside(path)


def test_messages_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    data = b""
    for _ in range(60):
        attribute = b"\x32" + _varint(len(data)) + data
        node = b"\x2a" + _varint(len(attribute)) + attribute
        data = b"\x0a" + _varint(len(node)) + node
    (tmp_path / "m.onnx").write_bytes(b"\x3a" + _varint(len(data)) + data)
    with pytest.raises(UserError, match="nested too deeply"):
        require_data_inside(tmp_path / "m.onnx")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
