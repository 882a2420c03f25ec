"""Every example runs on the bundled model and makes what its first lines say; the list of examples is whole."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.report_file import read_report
from examples import (
    convert_and_evaluate,
    export_and_compare,
    predict_folder,
    predict_video,
    quantize,
    train_on_bundled_images,
)
from refinemask.bundled import NUCLEI
from refinemask.prediction import DRAWN_SCORE
from refinemask.recipes import RECIPES
from refinemask.weights import read_config, read_metadata
from tests.support.hidden import all_but, without
from tests.support.tolerances import assert_near

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
WITH_OPTIONS = (
    "convert_and_evaluate",
    "export_and_compare",
    "predict_folder",
    "predict_video",
    "quantize",
    "run_without_pytorch",
    "train_on_bundled_images",
)
ONNX = "refinemask-nuclei.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures that the bundled model has not seen."""
    (tmp_path / "pictures").mkdir()
    for name in ("0005.png", "0105.png"):
        shutil.copy(NUCLEI / "images" / name, tmp_path / "pictures")
    return tmp_path / "pictures"


def test_every_example_is_listed_and_run_by_a_test() -> None:
    examples = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb"))
    assert len(examples) >= 7
    listed = (EXAMPLES / "README.md").read_text()
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [path.name for path in examples if f"]({path.name})" not in listed] == []
    assert [path.name for path in examples if not re.search(rf"\b{path.stem}\b", tests)] == []


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_help_shows_the_first_lines(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"python examples/{name}.py" in shown
    assert "Needs the extra" in shown
    assert f"(default: out/{name})" in " ".join(shown.replace("│", "").split())


def test_predict_folder_writes_results_and_reads_them_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "damaged.png").write_bytes(b"no picture")
    output = tmp_path / "out"
    predict_folder.main(output, folder)
    results = json.loads((output / "results.json").read_text())
    assert {path.name for path in output.iterdir()} == {"results.json", "0005.png", "0105.png"}
    printed = capsys.readouterr().out
    assert "damaged.png" in printed
    assert "2 of 3 pictures in PyTorch fp32" in printed
    for name, least in (("0005.png", 10), ("0105.png", 20)):
        drawn = sum(result["file_name"] == name and result["score"] >= DRAWN_SCORE for result in results)
        assert drawn >= least
        assert f"{name}: {drawn} objects cover" in printed


def test_predict_video_draws_and_tells_every_second_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict_video.main(tmp_path, every=2, max_frames=2)
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [(line["frame"], line["seconds"]) for line in lines] == [(0, 0.0), (2, 0.5)]
    assert all(len(line["detections"]) >= 10 for line in lines)
    drawn = cv2.VideoCapture(str(tmp_path / "drawn" / "nuclei.mp4"))
    assert (drawn.get(cv2.CAP_PROP_FRAME_COUNT), drawn.get(cv2.CAP_PROP_FPS)) == (2, 2)
    assert "2 frames predicted, 0 dropped" in capsys.readouterr().out


def test_train_on_bundled_images_trains_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_on_bundled_images.main(tmp_path, pictures=4, epochs=2)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(np.isfinite(record["loss"]) for record in records)
    assert len(json.loads((tmp_path / "instances_train.json").read_text())["images"]) == 4
    trained = tmp_path / "last.safetensors"
    assert read_metadata(trained)["epoch"] == "2"
    assert read_config(trained).class_names == ("nucleus",)
    assert (tmp_path / "0005.png").is_file()
    found = re.search(r"0005\.png: (\d+) objects", capsys.readouterr().out)
    # It goes on from the bundled weights, which know nuclei.
    assert found is not None
    assert int(found[1]) >= 10


def test_train_on_bundled_images_speaks_of_the_recipe_as_it_is() -> None:
    shown = train_on_bundled_images.__doc__ or ""
    [epochs, pictures] = re.findall(r"--pictures (\d+) --epochs (\d+) --from-scratch", shown)[0][::-1]
    content = json.loads((NUCLEI / "annotations" / "instances_train.json").read_text())
    assert int(epochs) == RECIPES["nuclei-demo"].train.epochs
    assert int(pictures) == len(content["images"])


def test_convert_and_evaluate_restores_the_settings(tmp_path: Path) -> None:
    bundled, converted, corrected = convert_and_evaluate.main(tmp_path, limit=4)
    assert bundled > 0.5
    assert converted < bundled - 0.05
    assert_near(corrected, bundled, "AP of the same weights")
    assert read_metadata(tmp_path / "corrected.safetensors")["recipe"] == "official: official.pth"


def test_export_and_compare_finds_that_the_engines_agree(compared: Path) -> None:
    first, *others = read_report(ComparisonReport, compared / "report.json").engines
    assert (first.name, others[0].name) == ("PyTorch", "ONNX Runtime")
    assert first.accuracy is not None
    assert first.accuracy["segm"]["AP"] > 0.5
    for engine in others:
        assert engine.accuracy is not None
        assert engine.precision in ("fp32", "bf16")
        tolerance = "AP of another engine" if engine.precision == "fp32" else "AP in few bits"
        for kind, figures in engine.accuracy.items():
            assert_near(figures["AP"], first.accuracy[kind]["AP"], tolerance)
    assert (compared / ONNX).is_file()


def test_quantize_keeps_the_average_precision(nuclei_onnx: Path, tmp_path: Path) -> None:
    shutil.copy(nuclei_onnx, tmp_path)
    figures = quantize.main(tmp_path, limit=4)
    assert list(figures) == [ONNX, "refinemask-nuclei-int8.onnx"]
    assert all((tmp_path / name).is_file() for name in figures)
    before, after = figures.values()
    assert before > 0.5
    assert before != after
    assert_near(after, before, "AP in few bits")


def test_run_without_pytorch_needs_the_base_and_onnx_runtime_alone(nuclei_onnx: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "run_without_pytorch.py", "out", "--model", nuclei_onnx],
        cwd=tmp_path,
        env=without(all_but("onnxruntime")),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "PyTorch was not imported" in done.stdout
    saved = np.load(tmp_path / "out" / "masks.npz")
    assert saved["masks"].shape == (len(saved["scores"]), 256, 256)
    assert len(saved["scores"]) >= 10
    found = re.search(r"by hand: (\d+) objects, largest difference of a box (\S+) pixels", done.stdout)
    assert found is not None
    assert int(found[1]) == len(saved["scores"])
    assert_near(float(found[2]), 0, "engine boxes")


@pytest.fixture
def no_windows() -> Iterator[None]:
    """Figures are drawn in memory, and gone afterwards."""
    matplotlib.use("Agg")
    plt.close("all")
    yield
    plt.close("all")


@pytest.mark.usefixtures("no_windows")
def test_first_masks_runs_from_top_to_bottom(
    nuclei_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = json.loads((EXAMPLES / "first_masks.ipynb").read_text())
    monkeypatch.chdir(tmp_path)
    exported = tmp_path / "out" / "first_masks" / ONNX
    exported.parent.mkdir(parents=True)
    shutil.copy(nuclei_onnx, exported)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert len(plt.get_fignums()) == 2
    result, again, pixels = (names[name] for name in ("result", "again", "pixels"))
    assert isinstance(pixels, np.integer)
    assert len(result) == len(again) >= 20  # type: ignore[arg-type]
    assert_near(pixels / 256**2, 0, "mask pixels that changed sides")


def test_first_masks_is_committed_with_small_pictures_and_no_trace_of_a_machine() -> None:
    path = EXAMPLES / "first_masks.ipynb"
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
    assert path.stat().st_size < 400_000
    texts = json.dumps([output for output in outputs if "image/png" not in output.get("data", {})])
    assert re.search(r"/(home|root|work|tmp|Users)/", texts) is None


@pytest.mark.slow
def test_the_whole_validation_set(tmp_path: Path) -> None:
    bundled, _, corrected = convert_and_evaluate.main(tmp_path / "convert")
    assert_near(corrected, bundled, "AP of the same weights")
    before, after = quantize.main(tmp_path / "quantize").values()
    assert_near(after, before, "AP in few bits")
    report = export_and_compare.main(tmp_path / "compare")
    assert len(report.batches) == 46


@pytest.mark.slow
def test_training_from_random_weights(tmp_path: Path) -> None:
    train_on_bundled_images.main(tmp_path, pictures=4, epochs=1, from_scratch=True)
    assert read_metadata(tmp_path / "last.safetensors")["epoch"] == "1"
