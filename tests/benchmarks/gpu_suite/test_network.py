"""Files are made in a process of their own, within the time that is left."""

from pathlib import Path

import pytest

from benchmarks.gpu_suite import network
from benchmarks.gpu_suite.network import NotRunError
from engines import PrecisionNotMetError
from refinemask.files import UserError


def test_an_export_that_takes_too_long_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match=r"^export_onnx did not finish in the 0 s that were left$"):
        network.export_file(tmp_path / "absent.safetensors", tmp_path, "fp32", timeout=0.001)
    assert list(tmp_path.iterdir()) == []


def test_an_export_s_mistake_is_told_by_its_process(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.safetensors: no such file"):
        network.export_file(tmp_path / "absent.safetensors", tmp_path, "fp32", timeout=600)


def test_an_engine_in_another_precision_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def miss(*_: object, **__: object) -> None:
        raise PrecisionNotMetError("model-fp16.onnx: fp16 was asked for")

    monkeypatch.setattr(network, "has_tensorrt", lambda: True)
    monkeypatch.setattr(network, "call_in_child", miss)
    with pytest.raises(NotRunError, match="fp16 was asked for"):
        network.build_engine(tmp_path / "model-fp16.onnx", "fp16", timeout=600)


def test_without_tensorrt_no_engine_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "has_tensorrt", lambda: False)
    with pytest.raises(NotRunError, match="the package tensorrt is not installed"):
        network.build_engine(tmp_path / "model-fp16.onnx", "fp16", timeout=600)
    assert network.precisions() == ("fp32",)
