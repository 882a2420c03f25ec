"""The command line of the quantiser, with recorded ranges or the tool that measures new ones."""

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from export import to_onnx
from export.calibration import Calibration, read_calibration, write_calibration
from export.qdq import kept_layers, layers
from export.quantize import Args, main
from refinemask.bundled import NUCLEI
from refinemask.files import sha256

ROOT = Path(__file__).resolve().parents[2]
ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
PYTHON = ROOT / ".venv-quantize" / "bin" / "python"
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
        ({"calibration": None}, "give either --calibration"),
        ({"ranges": Path("absent.json")}, "give either --calibration"),
        ({"calibration": None, "ranges": Path("absent.json")}, "absent.json: no such file"),
        ({"calibration": Path("absent.json")}, "absent.json"),
        ({"images": Path("absent")}, "cannot be read"),
        ({"count": 0}, "--count 0: expected at least one"),
        ({"count": -1}, "--count -1: expected at least one"),
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


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="nvidia-modelopt is installed")
def test_without_the_tool(tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = Args(tiny_files[1], tmp_path / "int8.onnx", NUCLEI / "images", calibration=ANNOTATIONS, count=2)
    assert main(args) == 2
    assert "make quantize-env" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs the environment of make quantize-env")
def test_calibration(tmp_path: Path) -> None:
    # Random weights need not bear eight bits.
    checkpoint, model, output = (
        ROOT / "demo/weights/refinemask-nuclei.safetensors",
        tmp_path / "a.onnx",
        tmp_path / "int8.onnx",
    )
    assert to_onnx.main(to_onnx.Args(checkpoint=checkpoint, output=model, static=(256, 256), batch=(1,))) == 0
    where: list[str | Path] = ["--calibration", ANNOTATIONS, "--images", NUCLEI / "images", "--count", "8"]
    command: list[str | Path] = [PYTHON, "-m", "export.quantize", model, "--output", output, *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calibration = read_calibration(tmp_path / "int8.ranges.json")
    graph = ir.load(model).graph
    assert calibration.source_sha256 == sha256(checkpoint)
    assert calibration.tool.startswith("nvidia-modelopt")
    assert not set(calibration.ranges) & set(kept_layers(graph))
    assert len(calibration.ranges) > len(layers(graph)) / 2
    assert all(limit > 0 for limit in calibration.ranges.values())
