"""An int8 file in OpenVINO: in 8 bits, as the file says, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx_ir as ir
import onnxruntime
import pytest

import engines
from engines.quantised.layers import quantised_layers
from refinemask.contract import INPUTS
from refinemask.files import UserError
from refinemask.structures import Detections
from tests.support.tolerances import TOLERANCES, assert_near

pytest.importorskip("openvino", reason="needs the extra 'openvino'")

from engines.openvino import quantised
from engines.openvino.core import capabilities
from engines.openvino.executed import EIGHT_BITS, executed_layers, roi_precisions

Batch = tuple[np.ndarray, np.ndarray]


def load(path: Path, precision: str | None = None) -> Any:
    return engines.load(path, backend="openvino", precision=precision, threads=1)


def as_written(path: Path, batch: Batch) -> Detections:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    return Detections(*session.run(list(Detections._fields), dict(zip(INPUTS, batch, strict=True))))


def assert_as_written(found: Detections, path: Path, batch: Batch) -> None:
    """The detections are those that the file says, whose masks tell more of a wrong scale than of float32 sums."""
    expected = as_written(path, batch)
    assert expected.num_detections.min() > 0
    for name in ("num_detections", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("boxes", "scores"):
        assert_near(getattr(found, name), getattr(expected, name), f"engine {name}")
    real = np.arange(expected.masks.shape[1]) < expected.num_detections[:, None]
    difference = np.abs(found.masks - expected.masks)[real].mean((1, 2))
    assert difference.max() < TOLERANCES["masks in 8 bits"].absolute


def test_it_gives_what_the_file_says(int8_file: Path, photos: Batch) -> None:
    assert_as_written(load(int8_file).infer(*photos), int8_file, photos)


@pytest.mark.parametrize("precision", [None, "int8", "int8+fp32"])
def test_layers_are_executed_in_8_bits_and_the_rest_in_fp32(int8_file: Path, precision: str | None) -> None:
    engine = load(int8_file, precision)
    assert engine.precision == precision or (precision is None and engine.precision == "int8")
    model = onnx.load(int8_file)
    names = {layer.node.name for layer in quantised_layers(model.graph)}
    in_8_bits = names - set(engine.layers.kept)
    found = executed_layers(engine.model)
    for name in names:
        types = {layer.precision for layer in found if name in layer.made_of}
        assert types, name
        assert types <= (EIGHT_BITS if name in in_8_bits else {"f32"}), name
    assert {layer.precision for layer in found if not layer.made_of & names} == {"f32"}
    assert roi_precisions(engine.model) == {"f32"}


def test_the_rest_is_in_bf16_or_the_engine_is_refused(int8_file: Path, photos: Batch) -> None:
    if "BF16" not in capabilities():
        with pytest.raises(UserError, match=r"int8\+bf16 was asked for, .* use --precision int8\+fp32"):
            load(int8_file, "int8+bf16")
        return
    engine = load(int8_file, "int8+bf16")
    found = executed_layers(engine.model)
    rest = [layer for layer in found if not layer.made_of & engine.layers.in_8_bits and "Convolution" in layer.kind]
    assert {layer.precision for layer in rest} == {"bf16"}
    assert roi_precisions(engine.model) == {"f32"}
    difference = np.abs(engine.infer(*photos).scores - as_written(int8_file, photos).scores)
    assert np.median(difference) < TOLERANCES["scores in bfloat16"].absolute


def test_the_remark_counts_the_layers_that_are_kept(
    int8_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantised, "sums_overflow", lambda: True)
    engine = load(int8_file)
    total = len(engine.layers.in_8_bits) + len(engine.layers.kept)
    assert f"{len(engine.layers.kept)} of {total} quantised layers" in capsys.readouterr().err
    monkeypatch.setattr(quantised, "sums_overflow", lambda: False)
    assert load(int8_file).layers.kept == ()
    assert capsys.readouterr().err == ""


def rewritten(path: Path, target: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    edit(model)
    onnx.save(model, target)
    return target


def scale_by_input(model: onnx.ModelProto) -> None:
    """A weight of the backbone with a scale for each input channel, which OpenVINO multiplies in fp32."""
    layer = next(layer for layer in quantised_layers(model.graph) if layer.node.name.startswith("backbone."))
    channels = layer.codes.shape[1]
    scales, zeros = np.linspace(0.01, 0.02, channels, dtype=np.float32), np.zeros(channels, np.int8)
    arrays: list[np.ndarray] = [scales, zeros]
    for place, array in enumerate(arrays, 1):
        layer.weight.input[place] = f"by_input_{place}"
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, layer.weight.input[place]))
    next(attribute for attribute in layer.weight.attribute if attribute.name == "axis").i = 1


def test_a_layer_that_falls_back_is_an_error(int8_file: Path, tmp_path: Path) -> None:
    path = rewritten(int8_file, tmp_path / "fallback.onnx", scale_by_input)
    message = r"int8 was asked for, but OpenVINO computes 1 of \d+ layers otherwise, such as backbone\.\S+ in f32"
    with pytest.raises(UserError, match=message):
        load(path)


def test_layers_without_a_name_are_not_believed(int8_file: Path, tmp_path: Path) -> None:
    def forget(model: onnx.ModelProto) -> None:
        next(quantised_layers(model.graph)).node.name = ""

    with pytest.raises(UserError, match="in a way that it does not tell"):
        load(rewritten(int8_file, tmp_path / "nameless.onnx", forget))


def with_precision(path: Path, target: Path, precision: str) -> Path:
    model = ir.load(path)
    model.metadata_props["precision"] = precision
    ir.save(model, target)
    return target


def test_precisions_that_do_not_fit_the_file(int8_file: Path, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    for path, asked, message in (
        (int8_file, "fp32", r"runs a file of int8 in int8 or int8\+fp32 or int8\+bf16, not in fp32; .*the fp32 file"),
        (int8_file, "int8+fp16", r"not in int8\+fp16$"),
        (tiny_files[1], "int8", r"not in int8; make an int8 file of it first: python -m export\.quantize "),
        (tiny_files[1], "int8+bf16", r"make an int8 file of it first"),
        (with_precision(int8_file, tmp_path / "fp8.onnx", "fp8"), None, "this one is fp8; TensorRT runs it"),
        (with_precision(tiny_files[1], tmp_path / "w.onnx", "int8"), None, "has no quantised layer"),
    ):
        with pytest.raises(UserError, match=message):
            load(path, asked)


def test_engines_of_other_precisions_and_sizes_share_the_process(
    int8_file: Path, tiny_files: tuple[Path, Path], photos: Batch
) -> None:
    exact, first, second = load(tiny_files[1]), load(int8_file), load(int8_file)
    before = [engine.infer(*photos) for engine in (exact, first, second)]
    crop = photos[0][:1, :, :64, :64].copy(), np.array([[64, 64]])
    small = [engine.infer(*crop) for engine in (first, second)]
    assert_as_written(small[0], int8_file, crop)
    for one, other in ((before[1], before[2]), (small[0], small[1])):
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    del first
    for engine, earlier in ((exact, before[0]), (second, before[2])):
        for ours, theirs in zip(engine.infer(*photos), earlier, strict=True):
            np.testing.assert_array_equal(ours, theirs)
