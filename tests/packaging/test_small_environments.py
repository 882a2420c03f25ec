"""An environment without most extras: an exported file runs, and what is missing is one line that names its extra."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from export import export_onnx
from refinemask.bundled import NUCLEI
from refinemask.files import UserError
from tests.conftest import ROOT
from tests.support.hidden import all_but, needs, without

IMAGE = NUCLEI / "images" / "0005.png"


def run(hidden: set[str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=without(hidden), capture_output=True, text=True)


def test_what_is_hidden_is_what_the_base_does_not_have() -> None:
    assert {"torch", "torchvision", "onnx", "onnxruntime", "supervision", "scipy"} <= all_but()
    # Older pycocotools bring Matplotlib with them.
    assert ("matplotlib" in all_but()) == ("matplotlib" not in needs("pycocotools"))
    assert not {"numpy", "cv2", "PIL", "pycocotools", "rich", "tqdm", "tyro"} & all_but()
    assert all_but() - all_but("onnxruntime") >= {"onnxruntime"}


def test_every_package_imports_with_the_base_alone() -> None:
    script = "import refinemask, engines, export, trt_plugins, refinemask.predict, benchmarks"
    done = run(all_but(), "-c", script)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("extra", "distributions"), [("cpu", ["onnxruntime"]), ("openvino", ["openvino", "onnx"])], ids=["cpu", "openvino"]
)
def test_an_exported_file_runs(
    extra: str, distributions: list[str], tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    backend = "onnxruntime" if extra == "cpu" else "openvino"
    options = "--model", tiny_files[1], "--backend", backend, "-o", tmp_path, "--no-draw"
    done = run(all_but(*distributions), "-m", "refinemask.predict", IMAGE, *options)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_predict_without_the_drawing_library_writes_results(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    hidden = all_but("onnxruntime")
    command = ("-m", "refinemask.predict", IMAGE, "--model", tiny_files[1], "-o", tmp_path / "out")
    refused = run(hidden, *command)
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: drawing needs supervision, which is not installed; pip install 'refinemask[draw]', "
        "or leave the pictures out with --no-draw\n"
    )
    assert not (tmp_path / "out").exists()
    done = run(hidden, *command, "--no-draw")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 images predicted" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]
    assert isinstance(json.loads((tmp_path / "out" / "results.json").read_text()), list)


def test_an_exported_file_is_evaluated_without_pytorch(tiny_files: tuple[Path, Path], annotations: Path) -> None:
    command = ("-m", "refinemask", "evaluate", tiny_files[1], "--annotations", annotations, "--images", IMAGE.parent)
    done = run(all_but("onnxruntime"), *command)
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime fp32 · coco · 1 images" in done.stdout


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """One image, annotated by a class of the tiny detector."""
    image = {"id": 1, "file_name": IMAGE.name, "height": 256, "width": 256}
    square = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
    square["segmentation"] = [[10, 10, 50, 10, 50, 50, 10, 50]]
    names = [{"id": 3, "name": "square"}, {"id": 7, "name": "disk"}]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": [image], "annotations": [square], "categories": names}))
    return path


CALLS = """
import json, sys
from pathlib import Path
import numpy as np
import engines, export, refinemask
from refinemask.prediction import Prediction

config = refinemask.ModelConfig(class_names=("a",), category_ids=(1,))
nothing = Prediction(path=None, height=2, width=2, boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32),
                     labels=np.zeros(0, np.int64), rles=[], config=config)
calls = {
    "pytorch": lambda: engines.load("m.safetensors"),
    "compiled": lambda: engines.load("m.pt2"),
    "onnxruntime": lambda: engines.load("m.onnx"),
    "openvino": lambda: engines.load("m.onnx", backend="openvino"),
    "tensorrt": lambda: engines.load("m.engine", device="cuda"),
    "pycuda": lambda: engines.load("m.engine", backend="pycuda", device="cuda"),
    "load_detector": lambda: refinemask.load_detector,
    "export": lambda: export.export_onnx,
    "draw": lambda: nothing.draw(np.zeros((2, 2, 3), np.uint8)),
    "to_supervision": lambda: nothing.to_supervision(),
}
for file in ("m.safetensors", "m.pt2", "m.onnx", "m.engine"):
    Path(file).write_text("content")
lines = {}
for name, call in calls.items():
    try:
        call()
    except refinemask.UserError as error:
        lines[name] = str(error)
print(json.dumps(lines))
"""


def test_library_calls_name_the_extra_that_they_need(tmp_path: Path) -> None:
    environment = without(all_but())
    environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    command = [sys.executable, "-c", CALLS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    missing = "which is not installed; pip install"
    assert json.loads(done.stdout) == {
        "pytorch": f"m.safetensors: backend 'pytorch' needs torch, {missing} 'refinemask[train]'",
        "compiled": f"m.pt2: backend 'compiled' needs torch, {missing} 'refinemask[train]'",
        "onnxruntime": (
            f"m.onnx: backend 'onnxruntime' needs onnxruntime, {missing} 'refinemask[cpu]' or 'refinemask[gpu]'"
        ),
        "openvino": f"m.onnx: backend 'openvino' needs onnx, {missing} 'refinemask[openvino]'",
        "tensorrt": f"m.engine: backend 'tensorrt' needs torch, {missing} 'refinemask[train]'",
        "pycuda": f"m.engine: backend 'pycuda' needs pycuda, {missing} 'refinemask[pycuda]'",
        "load_detector": f"refinemask.load_detector needs torch, {missing} 'refinemask[train]'",
        "export": f"export.export_onnx needs onnx, {missing} 'refinemask[export]'",
        "draw": f"Prediction.draw needs supervision, {missing} 'refinemask[draw]'",
        "to_supervision": f"Prediction.to_supervision needs supervision, {missing} 'refinemask[draw]'",
    }


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("refinemask train", "refinemask train needs torch, {}; pip install 'refinemask[train]'"),
        ("refinemask.train", "python -m refinemask.train needs torch, {}; pip install 'refinemask[train]'"),
        ("export.to_onnx", "python -m export.to_onnx needs onnx, {}; pip install 'refinemask[export]'"),
        ("refinemask quantize", "refinemask quantize needs ml-dtypes, {}; pip install 'refinemask[export]'"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(command: str, line: str) -> None:
    done = run(all_but("onnxruntime"), "-m", *command.split(), "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {line.format('which is not installed')}\n"


def test_a_command_that_takes_a_lazy_name_as_it_starts_names_the_extra() -> None:
    done = run(all_but("onnxruntime"), "-m", "benchmarks.demo")
    missing = "needs onnx, which is not installed; pip install 'refinemask[export]'"
    assert (done.returncode, done.stderr) == (2, f"error: export.export_onnx {missing}\n")


@pytest.mark.parametrize("words", [["-Bm", "refinemask.train"], ["-mrefinemask.train"]], ids=" ".join)
def test_the_module_may_be_named_in_any_way_that_python_takes(words: list[str]) -> None:
    done = run({"torch"}, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: python -m refinemask.train needs torch")


def test_a_script_with_an_option_m_keeps_its_errors(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import refinemask, torch")
    command = [sys.executable, str(script), "-m", "export"]
    done = subprocess.run(command, env=without({"torch"}), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_an_export_asks_for_a_runtime_before_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    expected = (
        "the verification of an exported file needs onnxruntime, which is not installed; "
        "pip install 'refinemask[cpu]' or 'refinemask[gpu]'"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        export_onnx(tmp_path / "not-read-yet.safetensors", tmp_path / "model.onnx")


def test_the_benchmarks_are_an_extra_of_their_own() -> None:
    done = run({"benchmarks"}, "-m", "refinemask", "compare")
    missing = "error: refinemask compare needs benchmarks, which is not installed; "
    remedy = "pip install 'refinemask[bench]', or in a checkout pip install -e benchmarks\n"
    assert (done.returncode, done.stderr) == (2, missing + remedy)


@pytest.mark.parametrize(
    ("package", "command"), [("benchmarks", "compare"), ("export", "check"), ("engines", "predict")]
)
def test_another_package_of_a_name_of_ours_is_named(package: str, command: str, tmp_path: Path) -> None:
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / f"{command}.py").write_text("raise SystemExit('not this one')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "refinemask", command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {folder}: this package is found where refinemask expects its own package")


def test_the_benchmarks_may_be_installed_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "refinemask", "fps", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: refinemask fps" in done.stdout
