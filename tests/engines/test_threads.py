"""One engine, several threads."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engines
from engines import base
from engines.openvino import engine as openvino_engine
from refinemask.structures import Detections, ImageDetections
from tests.support.runner_batches import assert_same
from tests.support.threads import alone, assert_threads_find_what_one_finds, batches_of, detect, finish

BATCHES = [*batches_of((64, 96), (96, 64)), *batches_of((64, 64), counts=(2,))]
Load = Callable[[], engines.Engine]


@pytest.fixture(params=["pytorch", "onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    return request.param


@pytest.fixture
def load(tiny_files: tuple[Path, Path], backend: str) -> Load:
    return partial(engines.load, tiny_files[backend != "pytorch"], backend=backend, threads=1)


def test_threads_find_what_one_finds(load: Load) -> None:
    engine = load()
    assert engine.concurrency == 1
    assert_threads_find_what_one_finds(engine, BATCHES)


def test_one_batch_computes_at_a_time(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = load()
    if engine.name == "PyTorch":
        monkeypatch.setattr(engine.detector, "forward", alone(engine.detector.forward))
    elif engine.name == "ONNX Runtime":
        monkeypatch.setattr(engine.session, "run_with_iobinding", alone(engine.session.run_with_iobinding))
    else:
        monkeypatch.setattr(openvino_engine, "run_request", alone(openvino_engine.run_request))
    assert_threads_find_what_one_finds(engine, BATCHES[:2])


def test_a_batch_computes_while_masks_of_another_are_pasted(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, paste, met = load(), base.encode, []
    expected = engine.infer(*BATCHES[1])

    def paste_slowly(*arguments: Any) -> list[ImageDetections]:
        met.append(finish(lambda: engine.infer(*BATCHES[1])))
        return paste(*arguments)

    monkeypatch.setattr(base, "encode", paste_slowly)
    detect(engine, BATCHES[0])
    assert_same(met[0], expected)


def test_a_batch_under_way_keeps_its_outputs(load: Load) -> None:
    engine = load()
    expected = [engine.infer(*batch) for batch in BATCHES]
    outputs = [engine.run(engine.upload(*batch)) for batch in BATCHES]
    for each, theirs in zip(outputs, expected, strict=True):
        assert_same(engine.download(each), theirs)


def test_after_an_error_the_next_batch_has_its_turn(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    expected = engine.infer(*BATCHES[0])

    def interrupt(*arguments: object) -> Detections:
        raise KeyboardInterrupt

    for phase in ("upload", "run", "download"):
        with monkeypatch.context() as failing:
            failing.setattr(engine, phase, interrupt)
            with pytest.raises(KeyboardInterrupt):
                engine.infer(*BATCHES[0])
        assert_same(finish(lambda: engine.infer(*BATCHES[0])), expected)


def test_openvino_keeps_its_requests(tiny_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    engine: Any = engines.load(tiny_files[1], backend="openvino", threads=1)
    make = engine.model.create_infer_request
    made: list[None] = []

    def counted() -> Any:
        made.append(None)
        return make()

    monkeypatch.setattr(engine.model, "create_infer_request", counted)
    for batch in BATCHES:
        engine.infer(*batch)
    assert len(made) == 1
    under_way = [engine.run(engine.upload(*batch)) for batch in BATCHES[:2]]
    for each in under_way:
        engine.download(each)
    for batch in BATCHES:
        engine.infer(*batch)
    assert len(made) == 2


def test_what_was_released_is_as_good_as_new(load: Load) -> None:
    engine = load()
    expected = engine.infer(*BATCHES[0])
    engine.release(engine.upload(*BATCHES[1]))
    found = engine.infer(*BATCHES[0])
    np.testing.assert_array_equal(found.boxes, expected.boxes)
