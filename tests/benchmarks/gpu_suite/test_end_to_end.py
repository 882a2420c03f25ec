"""From files to run lengths, in order and side by side, with the same detections."""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import pytest

import engines
from benchmarks.gpu_suite import end_to_end
from benchmarks.gpu_suite.end_to_end import PHASES, EndToEndReport, compute, load_image, pipelined, run_end_to_end
from benchmarks.gpu_suite.rounds import Spread
from benchmarks.gpu_suite.subjects import TINY_CANVAS, subject
from engines.base import Engine
from refinemask.bundled import PHOTOS
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
    expected = engine.infer(loaded.images, loaded.image_sizes).num_detections[0]
    assert compute(engine, loaded) == expected > 0


def test_every_image_passes_the_pipeline_once(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines.load(subject(make_context(), "refinemask").checkpoint)
    seen: list[tuple[Path, str]] = []
    done: list[str] = []

    def load(engine: Engine, path: Path, canvas: tuple[int, int]) -> Any:
        seen.append((path, threading.current_thread().name))
        return load_image(engine, path, canvas)

    def count(engine: Engine, loaded: Any) -> int:
        done.append(threading.current_thread().name)
        return 0

    monkeypatch.setattr(end_to_end, "load_image", load)
    monkeypatch.setattr(end_to_end, "compute", count)
    monkeypatch.setattr(end_to_end, "AHEAD", 2)
    paths = FILES[:6]
    assert pipelined(engine, paths, TINY_CANVAS, slots=2, decoders=2) > 0
    assert sorted(path for path, _ in seen) == paths
    assert len(done) == len(paths)
    assert not {name for _, name in seen} & set(done)


@pytest.mark.parametrize("fails", [False, True])
def test_opencv_starts_no_threads_beside_those_that_decode(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    engine = engines.load(subject(make_context(), "refinemask").checkpoint)
    seen: list[int] = []

    def load(*arguments: Any) -> Any:
        seen.append(cv2.getNumThreads())
        return load_image(*arguments)

    def finish(engine: Engine, loaded: Any) -> int:
        if fails:
            raise ValueError("the engine fails")
        return 0

    monkeypatch.setattr(end_to_end, "load_image", load)
    monkeypatch.setattr(end_to_end, "compute", finish)
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with pytest.raises(ValueError, match="the engine fails") if fails else nullcontext():
            pipelined(engine, FILES[:2], TINY_CANVAS, slots=1, decoders=2)
        assert set(seen) == {1}
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


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
