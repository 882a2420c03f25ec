"""From files to run lengths, in order and side by side, with the same detections."""

from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
import pytest

import engines
from benchmarks.gpu_suite import end_to_end
from benchmarks.gpu_suite.end_to_end import PHASES, EndToEndReport, Loaded, load_image, paste, pipelined, run_end_to_end
from benchmarks.gpu_suite.rounds import Spread
from benchmarks.gpu_suite.subjects import TINY_CANVAS, subject
from engines.base import Engine
from refinemask.bundled import PHOTOS
from refinemask.data.images import read_image
from tests.benchmarks.gpu_suite.conftest import MakeContext

FILES = sorted((PHOTOS / "images").iterdir())


def test_eager_pytorch_where_nothing_is_compiled(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    monkeypatch.setattr(end_to_end, "keep_freed_memory", lambda: kept.append(True))
    report = run_end_to_end(make_context())
    assert kept, "memory that is freed is used again, as in a service"
    assert report.contender == "eager"
    assert tuple(report.phases_ms) == PHASES
    assert all(spread.n == report.images for spread in report.phases_ms.values())
    assert report.detections > 0
    assert min(report.serial_fps, report.pipelined_fps, report.network_fps) > 0


def test_the_detections_are_those_of_the_engine(make_context: MakeContext) -> None:
    engine = engines.load(subject(make_context(), "refinemask").checkpoint)
    loaded = load_image(engine, FILES[0], TINY_CANVAS)
    [expected] = engine.detect(loaded.images, loaded.image_sizes, loaded.scale_factors, [loaded.shape])
    found = paste(engine, engine.run(engine.upload(loaded.images, loaded.image_sizes)), loaded)
    assert len(found.scores) > 0
    for ours, theirs in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("fails", [False, True])
def test_every_image_passes_the_pipeline_once(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    engine = engines.load(subject(make_context(), "refinemask").checkpoint)
    opencv_threads: list[int] = []
    shapes: list[tuple[int, int]] = []

    def finish(engine: Engine, outputs: Any, loaded: Loaded) -> Any:
        opencv_threads.append(cv2.getNumThreads())
        shapes.append(loaded.shape)
        assert loaded.images.shape[2:] == TINY_CANVAS
        if fails:
            raise ValueError("the engine fails")
        return paste(engine, outputs, loaded)

    monkeypatch.setattr(end_to_end, "paste", finish)
    paths, before = FILES[:4], cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with pytest.raises(ValueError, match="the engine fails") if fails else nullcontext():
            assert pipelined(engine, paths, TINY_CANVAS, slots=2, decoders=2) > 0
        assert set(opencv_threads) == {1}, "its threads would take the cores from those that decode"
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    if not fails:
        assert sorted(shapes) == sorted(read_image(path).shape[:2] for path in paths)


def test_the_share_is_of_the_network_alone() -> None:
    report = EndToEndReport(
        contender="compiled fp16",
        images=1,
        detections=1.0,
        phases_ms={"decode": Spread(q1=1.0, median=1.0, q3=1.0, n=1)},
        serial_fps=50,
        pipelined_fps=90,
        network_fps=100,
        decoders=1,
        slots=1,
    )
    assert report.pipelined_share == pytest.approx(0.9)
    assert report.headline == "compiled fp16: images per second: 50 serial, 90 pipelined, 100 network alone"
