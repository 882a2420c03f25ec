"""The probe of a CPU's 8-bit kernels says what they do to extreme sums."""

import numpy as np
import pytest

from tests.support.extreme_layers import expected, extreme_input, extreme_network

pytest.importorskip("openvino", reason="needs the extra 'openvino'")

from engines.openvino import overflow
from engines.openvino.core import openvino_core
from engines.openvino.executed import EIGHT_BITS, ExecutedLayer, executed_layers
from engines.quantised.codes import write_unsigned


@pytest.mark.parametrize("operator", ["Conv", "Gemm"])
def test_the_answer_is_what_an_extreme_layer_shows(operator: str) -> None:
    model, x = extreme_network(operator, relu=False, signs="positive"), extreme_input(operator)
    write_unsigned(model.graph)
    core = openvino_core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    network = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
    assert {layer.precision for layer in executed_layers(network)} <= EIGHT_BITS
    error = np.abs(network({"x": x})["y"] - expected(model, x)).max()
    assert (error > 1) == overflow.sums_overflow()


def test_kernels_that_are_not_seen_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    in_float = [ExecutedLayer("Convolution", "f32", frozenset())] * 3
    in_8_bits = [ExecutedLayer("Convolution", "u8", frozenset())] * 3
    monkeypatch.setattr(overflow, "run_request", lambda request, inputs: None)
    for found, overflows in ((in_float, True), (in_8_bits[:2], True)):
        monkeypatch.setattr(overflow, "executed_layers", lambda network, found=found: found)
        assert overflow.sums_overflow.__wrapped__() is overflows


@pytest.mark.parametrize("wrong", [None, "wide", "narrow", "linear"])
def test_every_kind_of_kernel_is_asked(monkeypatch: pytest.MonkeyPatch, wrong: str | None) -> None:
    class Request:
        def get_tensor(self, name: str) -> "Request":
            self.data = np.full(5, overflow.PRODUCTS[name] * (32767 / 2 if name == wrong else 127 * 127.0))
            return self

    class Network:
        def create_infer_request(self) -> Request:
            return Request()

    monkeypatch.setattr(overflow, "_compiled_probe", Network)
    monkeypatch.setattr(overflow, "run_request", lambda request, inputs: None)
    monkeypatch.setattr(overflow, "executed_layers", lambda _: [ExecutedLayer("Convolution", "u8", frozenset())] * 3)
    assert overflow.sums_overflow.__wrapped__() is (wrong is not None)
