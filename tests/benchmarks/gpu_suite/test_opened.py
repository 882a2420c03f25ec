"""Whoever runs a network computes the batch that was uploaded last."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engines
from benchmarks.gpu_suite.agreement import agreement
from benchmarks.gpu_suite.exported_graph import exported_graph, on_device
from benchmarks.gpu_suite.opened import Opened, OpenedDetector, OpenedEngine, OpenedGraph
from benchmarks.gpu_suite.subjects import Subject, subject
from engines.torch_engine import TorchEngine
from refinemask.structures import Detections
from tests.benchmarks.gpu_suite.conftest import MakeContext


@pytest.fixture
def network(make_context: MakeContext) -> Subject:
    return subject(make_context(), "refinemask")


def engine_of(network: Subject) -> TorchEngine:
    engine = engines.load(network.checkpoint)
    assert isinstance(engine, TorchEngine)
    return engine


def open_graph(network: Subject) -> OpenedGraph:
    inputs = on_device(network.batch("many", 1), "cpu")
    return OpenedGraph(exported_graph(network.checkpoint, "fp32", "cpu", inputs), "cpu", record=False)


FORMS: dict[str, Callable[[Subject], Opened]] = {
    "engine": lambda network: OpenedEngine(engine_of(network)),
    "detector": lambda network: OpenedDetector(engine_of(network)),
    "graph": open_graph,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_last_upload_is_computed(network: Subject, form: str) -> None:
    opened = FORMS[form](network)
    expected = engine_of(network)
    for crowd in ("many", "few", "many"):
        batch = network.batch(crowd, 1)
        opened.upload(batch)
        with opened.turn():
            opened.run()
        found = opened.detections()
        assert all(isinstance(array, np.ndarray) for array in found)
        result = agreement(found, expected.infer(*batch[:2]))
        assert result.found == result.expected > 0
        assert result.matched == 1


class OneSlot:
    """An engine that lends its only slot from the upload to the download."""

    bounds = None

    def __init__(self) -> None:
        self.lent = False

    def upload(self, images: Any, image_sizes: Any) -> "OneSlot":
        assert not self.lent, "an engine with slots would wait for ever"
        self.lent = True
        return self

    def run(self, inputs: "OneSlot") -> "OneSlot":
        assert self.lent
        return self

    def download(self, outputs: "OneSlot") -> Detections:
        self.lent = False
        return Detections(*[np.zeros((1, 0))] * 5)


def test_a_slot_is_given_back_before_the_next_upload(network: Subject) -> None:
    opened = OpenedEngine(OneSlot())  # type: ignore[arg-type]
    for crowd in ("many", "few"):
        opened.upload(network.batch(crowd, 1))
        opened.run()
        opened.detections()
        opened.run()
        opened.run()
