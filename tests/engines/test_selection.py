"""A number of detections and a score threshold: checkpoints are built with them, results of fixed networks are cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engines
from benchmarks.harness.random_detector import randomize
from engines.torch_engine import TorchEngine
from export import export_onnx
from refinemask.bundled import NUCLEI, PHOTOS
from refinemask.config import Window, with_window
from refinemask.contract import Metadata
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.selection import Selection
from refinemask.weights import load_detector, save_detector
from tests.support.tiny_detector import TINY
from tests.support.tiny_families import MASK_HEADS
from tests.support.tolerances import assert_near

ASKED: list[dict[str, Any]] = [
    {"detections": 5},
    {"detections": 3, "score_threshold": 0.66},
    {"score_threshold": 1.0},
]


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(4)
    return [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((50, 90, 3), (64, 64, 3))]


@pytest.fixture(scope="module", params=MASK_HEADS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("family") / "tiny.safetensors"
    config = replace(TINY, mask_head=MASK_HEADS[request.param], box_head=replace(TINY.box_head, score_threshold=0.3))
    save_detector(randomize(Detector(config), 0), path, recipe="tiny")
    return path


@pytest.mark.parametrize("asked", ASKED)
def test_cut_results_are_those_of_a_network_that_selects_so(checkpoint: Path, asked: dict[str, Any]) -> None:
    built, cut, whole = engines.load(checkpoint, **asked), TorchEngine(checkpoint), TorchEngine(checkpoint)
    cut.select(Selection(**asked))
    assert built.config == cut.config != whole.config
    assert built.selection == cut.selection == Selection(**asked)
    predictions = zip(*(engine.predict(pictures()) for engine in (built, cut, whole)), strict=True)
    for ours, theirs, every in predictions:
        assert len(ours) <= len(every) > 1
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert len(ours.rles) == len(theirs.rles)
    images, sizes = np.zeros((1, 3, 64, 96), np.uint8), [[64, 90]]
    ours_raw, theirs_raw = built.infer(images, sizes), cut.infer(images, sizes)
    for ours, theirs in zip(ours_raw[:4], theirs_raw[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert ours_raw.masks.shape == theirs_raw.masks.shape


def test_more_detections_begin_with_those_of_before(checkpoint: Path) -> None:
    few, many = TorchEngine(checkpoint), engines.load(checkpoint, detections=30, score_threshold=0.2)
    assert many.config.box_head.candidates == 60
    for before, after in zip(few.predict(pictures()), many.predict(pictures()), strict=True):
        number = len(before)
        assert number < len(after)
        np.testing.assert_array_equal(before.boxes, after.boxes[:number])
        np.testing.assert_array_equal(before.scores, after.scores[:number])
        assert (after.scores > 0.2).all()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_exported_file_is_cut_and_says_so(tiny_files: tuple[Path, Path], backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    _, onnx = tiny_files
    whole = engines.load(onnx, backend=backend, threads=1)
    (every,) = whole.predict(pictures()[:1])
    threshold = float(every.scores[len(every) - 1])
    cut = engines.load(onnx, backend=backend, threads=1, detections=11, score_threshold=threshold)
    (found,) = cut.predict(pictures()[:1])
    assert len(found) == (every.scores[:11] > threshold).sum() > 0
    assert len(found) < len(every)
    np.testing.assert_array_equal(found.boxes, every.boxes[: len(found)])
    assert found.rles == every.rles[: len(found)]
    assert (cut.config.box_head.detections, cut.config.box_head.score_threshold) == (11, threshold)
    cut.select(Selection())
    assert cut.config == whole.config


def test_a_selection_leaves_the_window(tiny_files: tuple[Path, Path]) -> None:
    engine = engines.load(tiny_files[1], threads=1)
    window = Window(low=0, high=4095)
    engine.config = with_window(engine.config, window)
    engine.select(Selection(detections=1))
    assert engine.config.preprocessing.window == window
    assert engine.config.box_head.detections == 1


@pytest.mark.parametrize("asked", [{"detections": 13}, {"score_threshold": 0.5}])
def test_an_exported_file_cannot_give_more(tiny_files: tuple[Path, Path], asked: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"tiny\.onnx: its network gives .*python -m export\.to_onnx CHECKPOINT"):
        engines.load(tiny_files[1], **asked)


@pytest.mark.parametrize("file", [0, 1])
def test_numbers_out_of_range_are_refused_before_anything_is_loaded(tiny_files: tuple[Path, Path], file: int) -> None:
    with pytest.raises(UserError, match="--detections is 4000; expected 1 to 3840"):
        engines.load(tiny_files[file], detections=4000)


@pytest.mark.slow  # An export of the nuclei model, and a large picture in three engines.
def test_the_nuclei_model_gives_four_hundred_in_every_engine_and_the_first_as_before(tmp_path: Path) -> None:
    checkpoint = Path("demo/weights/refinemask-nuclei.safetensors")
    parts = [cv2.imread(str(NUCLEI / "images" / name)) for name in ("0175.png", "0129.png", "0218.png", "0207.png")]
    a, b, c, d = (part[:256, :256, ::-1] for part in parts if part is not None)
    picture = np.ascontiguousarray(np.vstack([np.hstack([a, b]), np.hstack([c, d])]), np.uint8)
    (before,) = TorchEngine(checkpoint).predict([picture])
    (torch,) = engines.load(checkpoint, detections=400).predict([picture])
    assert len(before) == 150 < len(torch) <= 400
    np.testing.assert_array_equal(before.boxes, torch.boxes[:150])
    np.testing.assert_array_equal(before.scores, torch.scores[:150])
    assert before.rles == torch.rles[:150]
    onnx = tmp_path / "nuclei.onnx"
    report = export_onnx(checkpoint, onnx, detections=400, masks="found", verify_images=PHOTOS)
    own = load_detector(checkpoint).config
    expected = replace(own, box_head=replace(own.box_head, detections=400))
    assert report.metadata.config == Metadata.of_file(onnx).config == expected
    for backend in ("onnxruntime", "openvino"):
        (found,) = engines.load(onnx, backend=backend).predict([picture])
        assert len(found) == len(torch)
        assert_near(found.boxes, torch.boxes, "onnx runtime boxes")
        assert_near(found.scores, torch.scores, "onnx runtime")
