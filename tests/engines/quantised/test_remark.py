"""Both CPU runtimes say in the same words which layers are not computed in 8 bits."""

from pathlib import Path

import onnx
import pytest

import engines
from engines.quantised.layers import quantised_layers
from engines.quantised.overflow import overflowing_layers
from engines.quantised.remark import say_what_overflows
from tests.support.quantised_file import write_int8


@pytest.fixture(scope="module")
def int8_file(tiny_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_int8(tiny_files[1], tmp_path_factory.mktemp("remark") / "tiny-int8.onnx")


def said(names: int, total: int, path: Path) -> str:
    return (
        f"remark: {path}: {names} of {total} quantised layers are computed in floating point, because this CPU has no "
        "VNNI and their sums would overflow in 8 bits; the numbers are those of the file\n"
    )


def test_one_line_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    say_what_overflows(["a", "b"], 7, Path("a.onnx"))
    assert capsys.readouterr() == ("", said(2, 7, Path("a.onnx")))
    say_what_overflows([], 7, Path("a.onnx"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("backend", "probe"),
    [
        ("onnxruntime", "engines.quantised.for_onnxruntime.kernels_saturate"),
        ("openvino", "engines.openvino.quantised.sums_overflow"),
    ],
)
def test_engines_count_the_layers_whose_sums_overflow(
    backend: str, probe: str, int8_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(backend)
    graph = onnx.load(int8_file).graph
    kept, total = len(overflowing_layers(graph)), len(list(quantised_layers(graph)))
    assert 0 < kept < total
    for wrong in (True, False):
        monkeypatch.setattr(probe, lambda wrong=wrong: wrong)
        engines.load(int8_file, backend=backend, threads=1)
        assert capsys.readouterr() == ("", said(kept, total, int8_file) if wrong else "")
