"""The evaluation command: figures for a checkpoint, one line for a mistake."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_detector import make_tiny_detector

from refinemask.evaluate import Args, main
from refinemask.weights import save_detector


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_detector(make_tiny_detector(), path, recipe="tiny")
    return path


@pytest.fixture
def args(tmp_path: Path, checkpoint: Path) -> Args:
    """Three images with a square each."""
    images, annotations = [], []
    for number in (1, 2, 3):
        picture = np.random.default_rng(number).integers(0, 256, (60, 80 + number, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80 + number})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 3,
                "bbox": [10, 10, 30, 30],
                "area": 900,
                "segmentation": [[10, 10, 40, 10, 40, 40, 10, 40]],
            }
        )
    categories = [{"id": 3, "name": "square"}, {"id": 7, "name": "disk"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return Args(checkpoint=checkpoint, annotations=tmp_path / "annotations.json", images=tmp_path, threads=1)


def test_figures_results_and_continuation(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    folder = args.images
    args = replace(args, output=folder / "o.json", results=folder / "r.json", predictions=folder / "p.jsonl")
    assert main(args) == 0
    report = json.loads((folder / "o.json").read_text())
    assert report["images"] == 3
    assert report["skipped"] == 0
    assert report["max_detections"] == 100
    assert list(report["figures"]) == ["bbox", "segm", "boundary"]
    results = json.loads((folder / "r.json").read_text())
    assert results
    assert {result["category_id"] for result in results} <= {3, 7}
    table = capsys.readouterr().out
    assert all(word in table for word in ("box", "mask", "boundary", "AP50", "PyTorch", "fp32"))
    written = (folder / "p.jsonl").read_bytes()
    (folder / "2.png").unlink()
    assert main(args) == 0, "all images are in the predictions already"
    assert (folder / "p.jsonl").read_bytes() == written
    assert json.loads((folder / "o.json").read_text()) == report


def test_batches_give_the_same_results(args: Args) -> None:
    files = []
    for batch_size in (1, 3):
        files.append(args.images / f"{batch_size}.json")
        assert main(replace(args, batch_size=batch_size, results=files[-1], iou_types=("bbox",))) == 0
    one, three = (json.loads(file.read_text()) for file in files)
    assert [(r["image_id"], r["category_id"]) for r in one] == [(r["image_id"], r["category_id"]) for r in three]
    np.testing.assert_allclose([r["bbox"] for r in one], [r["bbox"] for r in three], atol=1e-2)


def test_unreadable_images_are_counted(args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    (args.images / "2.png").write_bytes(b"")
    assert main(replace(args, output=args.images / "o.json")) == 0
    assert json.loads((args.images / "o.json").read_text())["skipped"] == 1
    output = capsys.readouterr()
    assert "skipped: " in output.err
    assert "2.png" in output.err
    assert "1 skipped" in output.out


def spoil_images(args: Args) -> Args:
    return replace(args, images=args.images / "elsewhere")


def spoil_classes(args: Args) -> Args:
    content = json.loads(args.annotations.read_text())
    content["categories"][0]["name"] = "person"
    args.annotations.write_text(json.dumps(content))
    return args


def spoil_predictions(args: Args) -> Args:
    (args.images / "p.jsonl").write_text('{"predictions": {"model": "another"}}\n')
    return replace(args, predictions=args.images / "p.jsonl")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda args: replace(args, annotations=args.images / "absent.json"), r"absent\.json: cannot be read"),
        (lambda args: replace(args, annotations=args.images / "1.png"), "not a JSON file"),
        (lambda args: replace(args, checkpoint=args.images / "absent.safetensors"), "no such file"),
        (lambda args: replace(args, checkpoint=args.images / "1.png"), "no engine for '.png' files"),
        (lambda args: replace(args, limit=0), "--limit is 0; expected at least 1"),
        (lambda args: replace(args, batch_size=-1), "--batch-size is -1"),
        (spoil_images, "none of the 3 images could be used"),
        (spoil_classes, r"none is category 3 \(person\)"),
        (spoil_predictions, "not predictions of this model"),
    ],
)
def test_mistakes(args: Args, capsys: pytest.CaptureFixture[str], spoil: Callable[[Args], Args], message: str) -> None:
    assert main(spoil(args)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error)
