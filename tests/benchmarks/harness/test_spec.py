"""Engines named on the command line."""

from pathlib import Path

import pytest

from benchmarks.harness.spec import EngineSpec
from refinemask.files import UserError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a/model.onnx", EngineSpec(Path("a/model.onnx"))),
        ("model.onnx@openvino", EngineSpec(Path("model.onnx"), "openvino")),
        ("model.onnx@openvino:bf16", EngineSpec(Path("model.onnx"), "openvino", "bf16")),
        ("model@v2.onnx", EngineSpec(Path("model@v2.onnx"))),
    ],
)
def test_parse(text: str, spec: EngineSpec) -> None:
    assert EngineSpec.parse(text) == spec


def test_named_without_directory() -> None:
    assert str(EngineSpec.parse("a/b/model.onnx@openvino:bf16")) == "model.onnx@openvino:bf16"


def test_empty_text_is_refused() -> None:
    with pytest.raises(UserError, match="an engine is PATH"):
        EngineSpec.parse("")
