"""int8 files: which layers stay, what is refused, and, where the tool is installed, the file itself."""

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir
import pytest
from onnx_ir import DataType
from tiny_detector import TINY

from export.quantize import KEPT, Args, _read_images, kept_layers, main, unquantised_layers

ROOT = Path(__file__).resolve().parents[2]
NUCLEI = ROOT / "demo" / "nuclei"
ANNOTATIONS = NUCLEI / "annotations" / "instances_val.json"
PYTHON = ROOT / ".venv-quantize" / "bin" / "python"


def test_layers_that_decide_boxes_are_kept(tiny_files: tuple[Path, Path]) -> None:
    graph = ir.load(tiny_files[1]).graph
    weights = {node.name: node.inputs[1].name for node in graph if node.name in kept_layers(graph) and node.inputs[1]}
    assert {str(name).removeprefix("detector.") for name in weights.values()} == {
        "backbone.conv1.weight",
        "rpn.cls_logits.weight",
        "rpn.bbox_deltas.weight",
        "box_head.cls_logits.weight",
        "box_head.bbox_deltas.weight",
    }
    assert len(weights) == 1 + 2 * 5 + 2, "the RPN's predictors run once per level"
    assert set(kept_layers(graph).values()) == set(KEPT.values())


def test_calibration_images_are_not_compared_on() -> None:
    args = Args(model=Path(), output=Path(), calibration=ANNOTATIONS, images=NUCLEI / "images", count=10)
    calibration, held_out = _read_images(args)
    assert (len(calibration), len(held_out)) == (10, 6)
    assert not {image.tobytes() for image in calibration} & {image.tobytes() for image in held_out}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Path("absent.onnx")}, "no such file"),
        ({"calibration": Path("absent.json")}, "absent.json"),
        ({"images": Path("absent")}, "cannot be read"),
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
    args = Args(tmp_path / "twice.onnx", tmp_path / "int8.onnx", calibration=ANNOTATIONS, images=NUCLEI / "images")
    assert main(args) == 2
    assert "expected an fp32 or fp16 file" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="nvidia-modelopt is installed")
def test_without_the_tool(tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"calibration": ANNOTATIONS, "images": NUCLEI / "images", "count": 2}
    assert main(Args(tiny_files[1], tmp_path / "int8.onnx", **given)) == 2
    assert "make quantize-env" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs the environment of make quantize-env")
def test_int8_file(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "int8.onnx"
    where = ["--calibration", ANNOTATIONS, "--images", NUCLEI / "images", "--count", "8"]
    command = [PYTHON, "-m", "export.quantize", tiny_files[1], "--output", output, *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = ir.load(output)
    assert len(model.functions) == 4
    assert model.metadata_props["precision"] == "int8"
    assert json.loads(model.metadata_props["config"])["class_names"] == list(TINY.class_names)
    assert set(unquantised_layers(model.graph)) == set(kept_layers(ir.load(tiny_files[1]).graph))
    scaled = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    assert {node.inputs[2].dtype for node in scaled if node.inputs[2]} == {DataType.INT8}
    assert all(not node.inputs[2].const_value.numpy().any() for node in scaled if node.inputs[2]), "TensorRT: symmetric"
