"""The command line of the checker."""

from pathlib import Path

import onnx_ir as ir
import pytest

from export.check import Args, main


def test_a_file_that_passes(tiny_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_files[1]
    assert main(Args(path, target="rtx")) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: no problems for rtx with the plugins",
        "  without its plugin, MultilevelRoIAlign4 fails: NonZero: its plugin is not in TensorRT-RTX; "
        "RoiAlign: TensorRT-RTX needs a GPU even to parse it",
        "  without its plugin, MultilevelRoIAlign1 fails: RoiAlign: TensorRT-RTX needs a GPU even to parse it",
        "  without its plugin, FixedNMS fails: NonMaxSuppression: TensorRT-RTX parses it and has no implementation "
        "to build",
        "  without its plugin, BoundaryMerge falls back to its body",
        "  without its plugin, SelectProposals falls back to its body",
        "  without its plugin, TopScores falls back to its body",
        "  without its plugin, LabelLogits falls back to its body",
        "  without its plugin, UpsampledLabelLogits falls back to its body",
    ]


def test_a_file_that_does_not(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, path = ir.load(tiny_files[1]), tmp_path / "broken.onnx"
    model.functions.clear()
    model.metadata_props["masks"] = "found"
    ir.save(model, path)
    assert main(Args(path)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "masks found: shapes depend on the image, so engines.build refuses it; export with --masks all",
        f"{path}: 1 problem for tensorrt-10 with the plugins",
    ]


def test_no_onnx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    assert main(Args(tmp_path / "broken.onnx")) == 2
    assert main(Args(tmp_path / "absent.onnx")) == 2
    assert capsys.readouterr().err.count("error: ") == 2
