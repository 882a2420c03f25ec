"""The command line of the quantiser, with recorded ranges or new ones."""

from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from export import to_onnx
from export.calibration.ranges import Calibration, read_calibration, write_calibration
from export.qdq import kept_layers, layers
from export.quantize import Args, main
from refinemask.bundled import DEMO, NUCLEI
from refinemask.files import sha256

ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
RANGES: dict[str, Any] = {"calibration": None, "count": None, "ranges": Path("absent.json")}
LAYER = "box_head.fc1/Gemm"


def write_ranges(checkpoint: Path, path: Path, limit: float) -> Path:
    """A calibration of one of the tiny file's layers."""
    source = sha256(checkpoint)
    write_calibration(Calibration(source_sha256=source, tool="by hand", images=2, ranges={LAYER: limit}), path)
    return path


def test_the_table_stands_before_the_verdict(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranges = write_ranges(tiny_files[0], tmp_path / "ranges.json", 12.0)
    args = Args(tiny_files[1], tmp_path / "int8.onnx", NUCLEI / "images", ranges=ranges)
    assert main(args) == 0
    out, err = capsys.readouterr()
    printed = " ".join(out.split())
    assert "int8 against tiny.onnx, worst of each" in printed
    assert "not quantised (7): scores and offsets of boxes" in printed
    assert printed.endswith("int8.onnx: written")
    assert err == ""
    write_ranges(tiny_files[0], ranges, 1e-6)
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert "int8 against tiny.onnx, worst of each" in out
    assert err.startswith(f"error: {args.output}: not written, ")
    assert f"detections agree with {args.model}; expected 70% of them" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Path("absent.onnx")}, "no such file"),
        ({"ranges": Path("absent.json")}, "--calibration is for a new calibration, and --ranges are of an earlier one"),
        ({**RANGES, "method": "mse"}, "--method is for a new calibration, and --ranges are of an earlier one"),
        ({**RANGES, "count": 64}, "--count is for a new calibration, and --ranges are of an earlier one"),
        ({**RANGES, "annotations": ANNOTATIONS}, "give both, such as --max-drop 0.3"),
        ({**RANGES, "backend": "openvino"}, "--backend openvino is the engine that --max-drop judges by"),
        ({**RANGES, "max_drop": 0.3}, "--max-drop needs annotated images"),
        (RANGES, "absent.json: no such file"),
        ({"calibration": Path("absent.json")}, "absent.json"),
        ({"images": Path("absent")}, "cannot be read"),
        ({"images": Path("absent"), "calibration": None}, "absent: cannot be read"),
        ({"count": 0}, "--count is 0; expected at least 1"),
        ({"count": -1}, "--count is -1; expected at least 1"),
    ],
)
def test_wrong_input(
    options: dict[str, Any],
    message: str,
    tiny_files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: dict[str, Any] = {
        "model": tiny_files[1],
        "calibration": ANNOTATIONS,
        "images": NUCLEI / "images",
        "count": 2,
    }
    assert main(Args(output=tmp_path / "int8.onnx", **given | options)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_calibration_of_the_bundled_model(tmp_path: Path) -> None:
    # Random weights need not bear eight bits.
    checkpoint, model, output = (
        DEMO / "weights" / "refinemask-nuclei.safetensors",
        tmp_path / "a.onnx",
        tmp_path / "b.onnx",
    )
    assert to_onnx.main(to_onnx.Args(checkpoint=checkpoint, output=model, static=(256, 256), batch=(1,))) == 0
    assert main(Args(model, output, NUCLEI / "images", calibration=ANNOTATIONS, count=8)) == 0
    calibration, graph = read_calibration(tmp_path / "b.ranges.json"), ir.load(model).graph
    assert calibration.source_sha256 == sha256(checkpoint)
    assert set(calibration.ranges) == set(layers(graph)) - set(kept_layers(graph))
