"""The command from its arguments to the table, the JSON and the figure, on toys."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import compare
from benchmarks.efficiency import run
from benchmarks.efficiency.files import Source
from benchmarks.efficiency.models import MODELS
from benchmarks.efficiency.run import Plan, require_all_detections
from benchmarks.harness.report import DetectionCounts
from refinemask.files import UserError
from tests.support.engine_reports import make_engine

Command = Any


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, checkpoints: list[Path], work: Path, pictures: list[Path], tmp_path: Path
) -> Command:
    """Runs ``benchmarks.compare --table efficiency`` with the toys and more arguments: exit code and report."""

    def call(*further: object) -> tuple[int, dict[str, Any]]:
        output = tmp_path / "table.json"
        arguments = ["--table", "efficiency", *checkpoints, "--work", work, "--output", output, "--size", "64x96"]
        arguments += ["--backends", "onnxruntime", "--threads", 1, "--rounds", 2, "--warmup", 0]
        arguments += ["--images", pictures[0].parent, *further]
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
        return compare.main(), json.loads(output.read_text()) if output.exists() else {}

    return call


@pytest.fixture
def annotations(pictures: list[Path], tmp_path: Path) -> tuple[Path, Path]:
    """An object in each picture, as COCO annotations and as those of AP*."""
    images = [{"id": n, "file_name": path.name, "height": 40, "width": 60} for n, path in enumerate(pictures)]
    objects = [
        {"id": n + 1, "image_id": n, "category_id": 1, "bbox": [0, 0, 30, 20], "area": 600, "iscrowd": 0}
        | {"segmentation": [[0, 0, 30, 0, 30, 20, 0, 20]]}
        for n in range(len(images))
    ]
    person = {"id": 1, "name": "person", "synset": "person.n.01", "frequency": "f"}
    lists: dict[str, list[int]] = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    federated = [{**image, **lists, "coco_url": f"http://images/val2017/{image['file_name']}"} for image in images]
    paths = tmp_path / "coco.json", tmp_path / "cocofied.json"
    for path, listed in zip(paths, (images, federated), strict=True):
        path.write_text(json.dumps({"images": listed, "annotations": objects, "categories": [person]}))
    return paths


def test_table_report_and_figure(
    command: Command, annotations: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = command("--annotations", annotations[0], "--ap-star-annotations", annotations[1])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert [model["name"] for model in report["models"]] == ["Mask R-CNN", "RefineMask"]
    convolution = 2 * 3 * 64 * 96 * 27 / 1e9
    assert [model["gflops"] for model in report["models"]] == [convolution] * 2
    (backend,) = report["backends"]
    first, second = backend["engines"]
    assert first["accuracy"] == second["accuracy"]
    assert set(first["accuracy"]) == {"bbox", "segm", "boundary", "ap_star"}
    assert first["accuracy"]["ap_star"]["AP"] > 0.3
    assert first["padded_sizes"] == {"64x96": 2}
    assert set(backend["provenance"]["files"]) == {"mask-rcnn-64x96.onnx", "refinemask-64x96.onnx"}
    # A directory stands only where somebody typed it.
    assert str(tmp_path) in backend.pop("command")
    assert str(tmp_path) not in json.dumps(report)
    assert "boundary AP" in out
    with Image.open(tmp_path / "table.png") as picture:
        # Matplotlib 3.8 rounds the height down.
        assert picture.size in [(1600, 920), (1600, 919)]
    assert (tmp_path / "table.svg").read_text().startswith("<?xml")


def test_resumes_only_the_same_measurement(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, first = command()
    assert code == 0
    monkeypatch.setattr(run, "measure", lambda *_: pytest.fail("measured again"))
    assert command("--resume") == (0, first)
    capsys.readouterr()
    assert command("--resume", "--rounds", 3) == (2, first)
    assert "is of other inputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "64"], "expected HEIGHTxWIDTH"),
        (["--rounds", 0], "rounds is 0"),
        (["--limit", 0], "--limit is 0"),
        (["--ap-star-annotations", "a.json"], "needs --annotations"),
        (["--device", "cuda"], "there is no GPU"),
        (["--output", "table.svg"], "the figure takes this name"),
        (["--backends", "tensorrt:fp16"], "tensorrt:fp16 runs on a GPU: add --device cuda"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    arguments: list[object],
    message: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    assert command(*arguments)[0] == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_no_input_is_an_output(
    command: Command, annotations: tuple[Path, Path], checkpoints: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (annotations[0], checkpoints[0]):
        before = path.read_bytes()
        assert command("--annotations", annotations[0], "--output", path)[0] == 2
        assert "would be overwritten" in capsys.readouterr().err
        assert path.read_bytes() == before


def test_images_left_out_of_ap_are_counted(
    command: Command, annotations: tuple[Path, Path], pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (50, 40)).save(pictures[1])
    code, report = command("--annotations", annotations[0])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert [backend["skipped"] for backend in report["backends"]] == [["1.png"]]
    assert "1 images skipped and not counted" in out


def test_an_unknown_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "--table", "tennis"])
    with pytest.raises(SystemExit, match="2"):
        compare.main()


def test_random_weights_must_give_all_detections() -> None:
    source = Source(MODELS[0], Path("mask-rcnn.safetensors"), random=True)
    engine = make_engine(detections_per_image=DetectionCounts(mean=99.5, min=99, max=100))
    with pytest.raises(UserError, match=r"99 to 100 detections; expected 100"):
        require_all_detections([engine], [source])
    require_all_detections([engine], [Source(MODELS[0], Path("trained.safetensors"), random=False)])


def test_random_weights_have_no_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(Plan(annotations=tmp_path / "a.json", work=tmp_path)) == 2
    assert "AP of random weights means nothing" in capsys.readouterr().err
