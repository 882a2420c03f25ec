"""Quantised files: of a new calibration where the tool is installed, or of a recorded one; and what is refused."""

import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir
import pytest

from export import to_onnx
from export.calibration import Calibration, read_calibration, write_calibration
from export.qdq import kept_layers, layers
from export.quantize import Args, _read_images, main
from refinemask.files import sha256

ROOT = Path(__file__).resolve().parents[2]
NUCLEI = ROOT / "demo" / "nuclei"
ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
PYTHON = ROOT / ".venv-quantize" / "bin" / "python"


RANGES = {"box_head.fc1/Gemm": 12.0, "mask_head.stages.1.fusion.merge/Conv": 12.0}


@pytest.fixture
def ranges(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of two of the tiny file's layers."""
    path = tmp_path_factory.mktemp("ranges") / "tiny.ranges.json"
    source = sha256(tiny_files[0])
    write_calibration(Calibration(source_sha256=source, tool="by hand", images=2, ranges=RANGES), path)
    return path


def test_calibration_images_are_not_compared_on() -> None:
    calibration, held_out = _read_images(ANNOTATIONS, NUCLEI / "images", 10)
    assert (len(calibration), len(held_out)) == (10, 6)
    assert not {image.tobytes() for image in calibration} & {image.tobytes() for image in held_out}


def test_recorded_ranges_need_no_tool(
    tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "int8.onnx"
    assert main(Args(tiny_files[1], output, NUCLEI / "images", ranges=ranges)) == 0, capsys.readouterr().err
    model = ir.load(output)
    producers = {name: node.inputs[0].producer() for name, node in layers(model.graph).items()}  # type: ignore[union-attr]
    rounded = [name for name, node in producers.items() if node is not None and node.op_type == "DequantizeLinear"]
    assert rounded == list(RANGES)
    assert {model.metadata_props[key] for key in ("precision", "calibration")} == {"int8", "by hand"}
    assert len(model.functions) == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "not quantised (12): scores and offsets of boxes" in printed
    assert list(tmp_path.iterdir()) == [output]


def test_a_file_without_bodies(tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path) -> None:
    model, lean, output = ir.load(tiny_files[1]), tmp_path / "lean.onnx", tmp_path / "int8.onnx"
    model.functions.clear()
    ir.save(model, lean)
    assert main(Args(lean, output, NUCLEI / "images", ranges=ranges)) == 0
    quantised = ir.load(output)
    assert quantised.metadata_props["precision"] == "int8"
    assert not quantised.functions
    assert sorted(tmp_path.iterdir()) == [output, lean]


def test_ranges_of_something_else(
    tiny_files: tuple[Path, Path], ranges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = Args(tiny_files[1], tmp_path / "int8.onnx", NUCLEI / "images", ranges=tmp_path / "wrong.json")
    good = read_calibration(ranges)
    for wrong, message in (
        (replace(good, source_sha256="0"), "the ranges are of another checkpoint"),
        (replace(good, ranges={"backbone.conv9/Conv": 1.0}), "the file lacks (backbone.conv9/Conv"),
    ):
        write_calibration(wrong, tmp_path / "wrong.json")
        assert main(args) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "wrong.json").write_text("{}")
    assert main(args) == 2
    assert "not a calibration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Path("absent.onnx")}, "no such file"),
        ({"calibration": None}, "give either --calibration"),
        ({"ranges": Path("absent.json")}, "give either --calibration"),
        ({"calibration": None, "ranges": Path("absent.json")}, "absent.json: cannot be read"),
        ({"calibration": Path("absent.json")}, "absent.json"),
        ({"images": Path("absent")}, "cannot be read"),
        ({"count": 0}, "--count 0: expected at least one"),
        ({"count": -1}, "--count -1: expected at least one"),
    ],
)
def test_wrong_input(
    options: dict, message: str, tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"model": tiny_files[1], "calibration": ANNOTATIONS, "images": NUCLEI / "images", "count": 2}
    assert main(Args(output=tmp_path / "int8.onnx", **given | options)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_our_metadata(
    tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ir.load(tiny_files[1])
    model.metadata_props["precision"] = "int8"
    ir.save(model, tmp_path / "twice.onnx")
    args = Args(tmp_path / "twice.onnx", tmp_path / "int8.onnx", NUCLEI / "images", calibration=ANNOTATIONS)
    assert main(args) == 2
    assert "expected an fp32 or fp16 file" in capsys.readouterr().err


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
    assert to_onnx.main(to_onnx.Args(checkpoint=checkpoint, output=model, static="256x256", batch=(1,))) == 0
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
