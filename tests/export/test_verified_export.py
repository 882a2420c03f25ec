"""The verified export: what it reports, and what lies on the disk when it fails."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import engines
from export import MismatchError, export_onnx, verified_export
from refinemask.agreement import PARITY, verification_shapes
from refinemask.bundled import PHOTOS
from refinemask.contract import Metadata
from refinemask.files import UserError, sha256
from refinemask.weights import save_detector
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import make_tiny_family


@pytest.fixture
def ready_made(tiny_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> ir.Model:
    """The tiny model, handed out in place of a new graph."""
    model = ir.load(tiny_files[1])
    monkeypatch.setattr(verified_export, "to_onnx", lambda *_, **__: model)
    return model


@pytest.fixture
def spoilt(ready_made: ir.Model) -> ir.Model:
    """The ready-made model with other box offsets than the checkpoint's."""
    weight = ready_made.graph.initializers["detector.box_head.bbox_deltas.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() + 0.1, name=weight.name)
    return ready_made


def test_the_report_says_what_was_verified_and_nothing_is_printed(
    tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "tiny.onnx"
    report = export_onnx(str(tiny_files[0]), str(output), verify_images=PHOTOS)
    assert capsys.readouterr() == ("", "")
    assert report.output == output
    assert list(output.parent.iterdir()) == [output]
    assert report.metadata == Metadata.of_file(output)
    assert (report.metadata.config, report.metadata.recipe) == (TINY, "tiny")
    assert report.metadata.source_sha256 == sha256(tiny_files[0])
    assert [found.shape for found in report.comparisons] == verification_shapes(report.metadata.bounds)
    assert report.parity == PARITY["fp32"]
    assert {check.shape for check in report.stages} == {found.shape for found in report.comparisons}
    assert [check for check in report.stages if check.fault] == []
    assert report.refusals == ()
    assert report.has_detections
    assert not replace(report, comparisons=()).has_detections


@pytest.mark.slow  # An export of its own.
def test_detections_and_threshold_are_those_of_the_verified_file(tmp_path: Path) -> None:
    checkpoint, output = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    save_detector(make_tiny_family("Mask R-CNN"), checkpoint, recipe="tiny")
    asked: dict[str, Any] = {"detections": 30, "score_threshold": 0.5}
    report = export_onnx(checkpoint, output, masks="found", verify_images=PHOTOS, **asked)
    head = report.metadata.config.box_head
    assert (head.detections, head.score_threshold, head.candidates) == (30, 0.5, 60)
    assert Metadata.of_file(output).config == report.metadata.config
    assert max(len(found.boxes) for found in report.comparisons) > TINY.box_head.detections
    picture = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    (ours,) = engines.load(output).predict([picture])
    (theirs,) = engines.load(checkpoint, **asked).predict([picture])
    assert len(ours) == len(theirs) > 0


def test_a_mismatch_carries_the_comparisons_and_leaves_nothing(
    tiny_files: tuple[Path, Path], spoilt: ir.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = r"tiny.onnx: not written, its box deltas are not PyTorch's on images of 1x64x128: deviate by"
    with pytest.raises(MismatchError, match=message) as raised:
        export_onnx(tiny_files[0], tmp_path / "tiny.onnx", verify_images=PHOTOS)
    assert raised.value.parity == PARITY["fp32"]
    assert sum(found.unmatched + (found.boxes > 1).sum() for found in raised.value.comparisons) > 0
    assert next(check for check in raised.value.stages if check.fault).stage == "box deltas"
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_an_earlier_file_survives_a_failed_export(
    tiny_files: tuple[Path, Path], spoilt: ir.Model, tmp_path: Path
) -> None:
    output = tmp_path / "tiny.onnx"
    output.write_bytes(b"an earlier file")
    with pytest.raises(MismatchError):
        export_onnx(tiny_files[0], output, verify_images=PHOTOS)
    assert output.read_bytes() == b"an earlier file"
    assert list(tmp_path.iterdir()) == [output]


def test_what_tensorrt_will_refuse_is_reported_of_its_files_alone(
    tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path
) -> None:
    del next(node for node in ready_made.graph if node.op_type == "FixedNMS").attributes["plugin_namespace"]
    report = export_onnx(tiny_files[0], tmp_path / "tiny.onnx", verify_images=PHOTOS)
    (refusal,) = report.refusals
    assert (refusal.where, refusal.body) == ("FixedNMS FixedNMS", None)
    assert "plugin_namespace" in refusal.reason
    found = export_onnx(tiny_files[0], tmp_path / "found.onnx", verify_images=PHOTOS, masks="found")
    assert found.refusals == ()


def test_without_bodies(tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path) -> None:
    output = tmp_path / "tiny.onnx"
    export_onnx(tiny_files[0], output, verify_images=PHOTOS, bodies=False)
    assert not ir.load(output).functions
    onnx.checker.check_model(output)


def test_the_bundled_pictures_are_found_from_anywhere(
    tiny_files: tuple[Path, Path], ready_made: ir.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export_onnx(tiny_files[0], "tiny.onnx").has_detections


def test_an_installation_without_pictures_asks_for_some(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified_export, "DEMO", tmp_path / "demo")
    with pytest.raises(UserError, match="name a directory of pictures with --verify-images"):
        export_onnx(tiny_files[0], tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []
