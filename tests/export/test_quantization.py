"""Quantised files of recorded ranges: what is reported of them, and what lies on the disk when they fail."""

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import onnxruntime
import pytest

from export import Bounds, MismatchError, quantize_onnx
from export.calibration.ranges import METHOD, Calibration, read_calibration, write_calibration
from export.qdq import kept_layers, layers
from export.verified_export import export_onnx
from refinemask.agreement import PARITY, verification_shapes
from refinemask.bundled import DEMO, NUCLEI
from refinemask.contract import OPERATORS, Metadata
from refinemask.files import UserError, sha256

IMAGES = NUCLEI / "images"
ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
RANGES = {"box_head.fc1/Gemm": 12.0, "mask_head.stages.1.fusion.merge/Conv": 12.0}


@pytest.fixture
def ranges(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of two of the tiny file's layers."""
    path = tmp_path_factory.mktemp("ranges") / "tiny.ranges.json"
    source = sha256(tiny_files[0])
    write_calibration(Calibration(source_sha256=source, tool="by hand", images=2, ranges=RANGES), path)
    return path


@pytest.fixture
def narrow(ranges: Path) -> Path:
    """Ranges so small that nothing of the features is left."""
    path = ranges.with_name("narrow.json")
    write_calibration(replace(read_calibration(ranges), ranges=dict.fromkeys(RANGES, 1e-6)), path)
    return path


def rounded_layers(path: Path) -> list[str]:
    """Names of the layers that read a rounded tensor."""
    producers = {
        name: node.inputs[0].producer() for name, node in layers(ir.load(path).graph).items() if node.inputs[0]
    }
    return [name for name, producer in producers.items() if producer and producer.op_type == "DequantizeLinear"]


def test_the_report_says_what_was_quantised_and_nothing_is_printed(
    tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "int8.onnx"
    report = quantize_onnx(str(tiny_files[1]), str(output), images=str(IMAGES), ranges=str(ranges))
    assert capsys.readouterr() == ("", "")
    assert (report.output, report.ranges) == (output, None)
    assert list(tmp_path.iterdir()) == [output]
    expected = replace(Metadata.of_file(tiny_files[1]), precision="int8", calibration="by hand", calibration_images=2)
    assert report.metadata == Metadata.of_file(output) == expected
    assert [found.shape for found in report.comparisons] == verification_shapes(expected.bounds)
    assert report.parity == PARITY["int8"]
    kept = {name for names in report.kept.values() for name in names}
    assert kept == set(layers(ir.load(tiny_files[1]).graph)) - set(RANGES)
    assert rounded_layers(output) == list(RANGES)
    assert len(ir.load(output).functions) == len(OPERATORS)


def test_a_mismatch_leaves_what_was_there(
    tiny_files: tuple[Path, Path], narrow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "int8.onnx"
    for before in ([], [output]):
        message = r"int8.onnx: not written, \d+ of \d+ detections agree with .*tiny.onnx; expected 70%"
        with pytest.raises(MismatchError, match=message) as raised:
            quantize_onnx(tiny_files[1], output, images=IMAGES, ranges=narrow)
        assert raised.value.parity == PARITY["int8"]
        assert raised.value.comparisons
        assert list(tmp_path.iterdir()) == before
        output.write_bytes(b"an earlier file")
    assert output.read_bytes() == b"an earlier file"
    assert capsys.readouterr() == ("", "")


def test_a_file_without_bodies_stays_one(tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path) -> None:
    model, lean, output = ir.load(tiny_files[1]), tmp_path / "lean.onnx", tmp_path / "int8.onnx"
    model.functions.clear()
    ir.save(model, lean)
    assert quantize_onnx(lean, output, images=IMAGES, ranges=ranges).metadata.precision == "int8"
    assert Metadata.of_file(output).precision == "int8"
    assert not ir.load(output).functions
    assert sorted(tmp_path.iterdir()) == [output, lean]


def test_ranges_of_something_else(tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path) -> None:
    good, wrong = read_calibration(ranges), ranges.with_name("wrong.json")
    for calibration, message in (
        (replace(good, source_sha256="0"), "the ranges are of another checkpoint"),
        (replace(good, ranges={"backbone.conv9/Conv": 1.0}), r"the file lacks \(backbone.conv9/Conv"),
    ):
        write_calibration(calibration, wrong)
        with pytest.raises(UserError, match=message):
            quantize_onnx(tiny_files[1], tmp_path / "int8.onnx", images=IMAGES, ranges=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_needs_images_alone_and_leaves_its_ranges(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights need not bear eight bits.
    monkeypatch.setattr("export.quantization.require_agreement", lambda *_: None)
    output = tmp_path / "int8.onnx"
    report = quantize_onnx(tiny_files[1], output, images=IMAGES, count=3)
    assert capsys.readouterr().out == ""
    assert report.ranges == tmp_path / "int8.ranges.json"
    assert sorted(tmp_path.iterdir()) == [output, report.ranges]
    calibration, graph = read_calibration(report.ranges), ir.load(tiny_files[1]).graph
    assert (calibration.source_sha256, calibration.images) == (sha256(tiny_files[0]), 3)
    assert calibration.tool == f"ONNX Runtime {onnxruntime.__version__}, {METHOD}"
    assert set(calibration.ranges) == set(layers(graph)) - set(kept_layers(graph))
    assert set(rounded_layers(output)) == set(calibration.ranges)
    again = quantize_onnx(tiny_files[1], tmp_path / "again.onnx", images=IMAGES, ranges=report.ranges)
    assert again.metadata == report.metadata
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def test_another_method_needs_no_second_run(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, progress = tmp_path / "int8.onnx", tmp_path / "int8.ranges.partial"
    with monkeypatch.context() as context:
        context.setattr("export.calibration.ranges.choose_range", lambda histogram, method: 1e-6)
        with pytest.raises(MismatchError):
            quantize_onnx(tiny_files[1], output, images=IMAGES, calibration=ANNOTATIONS, count=2)
    assert list(tmp_path.iterdir()) == [progress]
    monkeypatch.setattr("refinemask.onnx_session.run_session", None)
    monkeypatch.setattr("export.quantization.verify", lambda *_: [])
    quantize_onnx(tiny_files[1], output, images=IMAGES, calibration=ANNOTATIONS, count=2, method="mse")
    assert sorted(tmp_path.iterdir()) == [output, tmp_path / "int8.ranges.json"]
    assert read_calibration(tmp_path / "int8.ranges.json").tool.endswith(", mse")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"precision": "int8"}, "twice.onnx: its precision is int8; expected an fp32 or fp16 file"),
        ({"bounds": "[]"}, "twice.onnx: unreadable RefineMask metadata"),
    ],
)
def test_a_file_that_cannot_be_quantised(
    tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    model, twice = ir.load(tiny_files[1]), tmp_path / "twice.onnx"
    model.metadata_props.update(changed)
    ir.save(model, twice)
    with pytest.raises(UserError, match=message):
        quantize_onnx(twice, tmp_path / "int8.onnx", images=IMAGES, ranges=ranges)
    assert list(tmp_path.iterdir()) == [twice]


@pytest.mark.slow
def test_the_bundled_ranges_fit_an_export_of_the_bundled_checkpoint(tmp_path: Path) -> None:
    weights, model, output = DEMO / "weights", tmp_path / "nuclei.onnx", tmp_path / "int8.onnx"
    bounds = Bounds(batch=(1, 1, 1), height=(256, 256, 256), width=(256, 256, 256))
    export_onnx(weights / "refinemask-nuclei.safetensors", model, bounds=bounds, verify_images=IMAGES)
    recorded = weights / "refinemask-nuclei.ranges.json"
    report = quantize_onnx(model, output, images=IMAGES, ranges=recorded)
    calibration = read_calibration(recorded)
    assert rounded_layers(output) == [name for name in layers(ir.load(model).graph) if name in calibration.ranges]
    assert report.metadata.calibration == calibration.tool
    assert report.metadata.calibration_images == calibration.images
    assert {reason.split(":")[0] for reason in report.kept} == {
        "scores and offsets of boxes",
        "the stem reads the image with 3 channels",
    }
