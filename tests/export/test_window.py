"""A 12-bit image gives the detections of its 8-bit version, from the checkpoint and from the exported file."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

import engines
from export import export_onnx
from export.quantize import Args as QuantizeArgs
from export.quantize import main as quantize_main
from export.to_onnx import Args
from export.to_onnx import main as export_main
from refinemask.bundled import NUCLEI, PHOTOS
from refinemask.config import Window, with_window
from refinemask.contract import Bounds, Metadata
from refinemask.evaluate import Args as EvaluateArgs
from refinemask.evaluate import main as evaluate_main
from refinemask.predict import Args as PredictArgs
from refinemask.predict import main as predict_main
from refinemask.weights import save_detector
from tests.support.tiny_detector import make_tiny_detector

WINDOW = Window(low=0, high=4095)
BOUNDS = Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(96, 96, 96))


class Case(NamedTuple):
    """A picture of 12 bits, its version of 8 bits, and annotations of either."""

    deep: Path
    plain: Path
    values: np.ndarray


class Files(NamedTuple):
    """A checkpoint without a window, and what was exported of it with one."""

    checkpoint: Path
    exported: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("window")
    files = Files(folder / "tiny.safetensors", folder / "tiny.onnx")
    save_detector(make_tiny_detector(), files.checkpoint, recipe="tiny")
    export_onnx(files.checkpoint, files.exported, bounds=BOUNDS, verify_images=PHOTOS, window=WINDOW)
    return files


@pytest.fixture
def case(tmp_path: Path) -> Case:
    values = np.random.default_rng(0).integers(0, 4096, (40, 60, 3), dtype=np.uint16)
    plain = np.rint(values * (255 / 4095)).astype(np.uint8)
    places = []
    for name, pixels in (("deep", values), ("plain", plain)):
        (tmp_path / name).mkdir()
        assert cv2.imwrite(str(tmp_path / name / "a.png"), pixels[..., ::-1])
        places.append(tmp_path / name / "a.png")
    objects = [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [5, 5, 30, 30], "area": 900}]
    objects[0]["segmentation"] = [[5, 5, 35, 5, 35, 35, 5, 35]]
    content: dict[str, Any] = {"images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}]}
    content |= {"annotations": objects, "categories": [{"id": 3, "name": "square"}, {"id": 7, "name": "disk"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return Case(places[0], places[1], values)


def detections(model: Path, picture: Any, window: Window | None = None) -> list[Any]:
    engine = engines.load(model)
    engine.config = with_window(engine.config, window)
    [found] = engine.predict([picture])
    assert len(found) > 0
    return found.to_coco()


def test_the_file_carries_the_window_and_the_checkpoint_keeps_none(files: Files) -> None:
    assert Metadata.of_file(files.exported).config.preprocessing.window == WINDOW
    assert engines.load(files.checkpoint).config.preprocessing.window is None


def test_the_detections_are_those_of_8_bits(files: Files, case: Case) -> None:
    for model, window in ((files.checkpoint, WINDOW), (files.exported, None)):
        expected = detections(model, case.plain, window)
        assert detections(model, case.deep, window) == expected
        assert detections(model, case.values, window) == expected
        other = detections(model, case.deep, Window(low=1000, high=3000))
        assert other != expected, "a window given in place of the model's"


def test_grey_arrays_of_any_numbers_are_mapped(files: Files, case: Case) -> None:
    grey = case.values[..., 0]
    expected = detections(files.exported, np.dstack([grey] * 3))
    for array in (grey, grey[..., None], grey.astype(np.float32), grey.astype(np.int32), np.asfortranarray(grey)):
        assert detections(files.exported, array) == expected
    plain = np.rint(grey * (255 / 4095)).astype(np.uint8)
    assert detections(files.exported, plain) == expected


def test_predict_takes_the_window_or_names_the_option(
    files: Files, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[list[Any]] = []
    for picture, model, window in (
        (case.plain, files.checkpoint, None),
        (case.deep, files.checkpoint, WINDOW),
        (case.deep, files.exported, None),
    ):
        output = tmp_path / f"out{len(found)}"
        assert predict_main(PredictArgs(images=(picture,), model=model, output=output, window=window)) == 0
        found.append(json.loads((output / "results.json").read_text()))
        assert cv2.imread(str(output / "a.png")) is not None
    assert found[0]
    assert found[1] == found[0]
    assert len(found[2]) == len(found[0])
    capsys.readouterr()
    assert predict_main(PredictArgs(images=(case.deep,), model=files.checkpoint, output=tmp_path / "no")) == 2
    assert "a.png: has uint16 values 0 to 4095 (12 bits), expected 8 bits" in (error := capsys.readouterr().err)
    assert "--window LOW HIGH" in error


def evaluated(args: EvaluateArgs) -> dict[str, Any]:
    assert args.output is not None
    assert evaluate_main(args) == 0
    figures: dict[str, Any] = json.loads(args.output.read_text())["figures"]
    return figures


def test_evaluate_takes_the_window_and_keeps_predictions_of_each_apart(
    files: Files, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = EvaluateArgs(
        model=files.checkpoint,
        annotations=tmp_path / "a.json",
        images=case.plain.parent,
        output=tmp_path / "figures.json",
        results=tmp_path / "results.json",
    )
    expected, results = evaluated(args), (tmp_path / "results.json").read_text()
    deep = replace(args, images=case.deep.parent, window=WINDOW, predictions=tmp_path / "p.jsonl")
    assert evaluated(deep) == expected
    assert (tmp_path / "results.json").read_text() == results
    assert evaluated(deep) == expected, "goes on from the kept predictions"
    capsys.readouterr()
    assert evaluate_main(replace(deep, window=Window(low=0, high=4000))) == 2
    assert "p.jsonl" in capsys.readouterr().err
    assert evaluate_main(replace(args, images=case.deep.parent)) == 2
    assert "--window LOW HIGH" in capsys.readouterr().err
    # The file's own window counts as one that was given.
    own = replace(args, model=files.exported, images=case.deep.parent, predictions=tmp_path / "own.jsonl")
    assert evaluated(own) == evaluated(replace(own, window=WINDOW))


def test_the_export_is_verified_on_deep_pictures(
    files: Files, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = Args(
        checkpoint=files.checkpoint, output=tmp_path / "a.onnx", static=(64, 96), verify_images=case.deep.parent
    )
    assert export_main(args) == 2
    assert "a.png: has uint16 values" in capsys.readouterr().err
    assert not args.output.exists()


@pytest.mark.slow
def test_nuclei_of_12_bits_are_found_as_well_as_those_of_8(tmp_path: Path) -> None:
    """The bundled nuclei times sixteen, by the bundled RefineMask."""
    annotations = NUCLEI / "annotations" / "instances_val.json"
    (tmp_path / "images").mkdir()
    names = [image["file_name"] for image in json.loads(annotations.read_text())["images"][:6]]
    for name in names:
        pixels = cv2.imread(str(NUCLEI / "images" / name))
        assert pixels is not None
        assert cv2.imwrite(str(tmp_path / "made.png"), pixels.astype(np.uint16) * 16)
        shutil.move(tmp_path / "made.png", tmp_path / "images" / name)
    args = EvaluateArgs(
        model=NUCLEI.parent / "weights" / "refinemask-nuclei.safetensors",
        annotations=annotations,
        images=NUCLEI / "images",
        limit=len(names),
        output=tmp_path / "figures.json",
    )
    expected = evaluated(args)
    assert expected["segm"]["AP"] > 0.3
    deep = replace(args, images=tmp_path / "images")
    assert evaluated(replace(deep, window=Window(low=0, high=16 * 255))) == expected
    percentile = evaluated(replace(deep, window=Window(low=0.1, high=99.9, percentile=True)))
    assert percentile["segm"]["AP"] > 0.2


def test_a_command_without_the_option_names_the_one_that_has_it(
    files: Files, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windowless = tmp_path / "windowless.onnx"
    export_onnx(files.checkpoint, windowless, bounds=BOUNDS, verify_images=case.plain.parent)
    quantize = QuantizeArgs(model=windowless, output=tmp_path / "int8.onnx", images=case.deep.parent)
    assert quantize_main(quantize) == 2
    assert "python -m export.to_onnx --window … writes one into the file" in capsys.readouterr().err
    assert quantize_main(replace(quantize, model=files.exported)) in (0, 1), "the images were read"
