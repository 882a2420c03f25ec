"""``make demo`` in small."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import demo
from refinemask.agreement import PARITY, MismatchError
from refinemask.files import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_exports_compares_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = demo.Args(output=tmp_path, limit=2, pictures=1)
    assert demo.main(args) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    names = [engine["name"] for engine in report["engines"]]
    assert names[:2] == ["PyTorch", "ONNX Runtime"]
    if "OpenVINO" in names:
        assert report["engines"][-1]["engine"].startswith("model-int8.onnx@openvino:int8")
    assert len(report["batches"]) == 2
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1
    assert "Δ boundary" in capsys.readouterr().out


def test_the_bundled_files_are_there() -> None:
    args = demo.Args()
    assert args.model.is_file()
    assert args.annotations.is_file()
    assert args.images.is_dir()


def test_openvino_is_optional(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert demo.engine_names(Path("a.safetensors"), Path("a.onnx")) == ["a.safetensors", "a.onnx"]
    assert "not run: OpenVINO is not installed" in capsys.readouterr().out


def test_bf16_only_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    for capabilities, names in ((["FP32"], 3), (["FP32", "BF16"], 4)):
        monkeypatch.setattr(openvino.Core, "get_property", lambda *_, found=capabilities: found)
        assert len(demo.engine_names(Path("a.safetensors"), Path("a.onnx"))) == names
    assert capsys.readouterr().out.count("not run: OpenVINO bf16") == 1


Quantised = list[tuple[Path, Path]]


@pytest.fixture
def quantised(toy_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Quantised:
    """Files of a demo in which nothing is exported or quantised and OpenVINO has int8: from and to."""
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    calls: Quantised = []

    def quantise(model: Path, output: Path, *, images: Path, ranges: Path) -> Any:
        assert ranges == demo.RANGES
        calls.append((model, output))
        return SimpleNamespace(comparisons=(), parity=PARITY["int8"])

    monkeypatch.setattr(demo, "_export", lambda *_: None)
    monkeypatch.setattr(demo, "openvino_precisions", lambda of_file="fp32": [of_file])
    monkeypatch.setattr(demo, "quantize_onnx", quantise)
    return calls


class ComparisonError(Exception):
    """The comparison would begin."""


@pytest.mark.parametrize("bundled", [True, False])
@pytest.mark.parametrize("refused", [True, False])
def test_int8_is_of_the_bundled_checkpoint_and_of_cpus_that_have_it(
    quantised: Quantised,
    bundled: bool,
    refused: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    compared: list[str] = []

    def load(*_: object, **__: object) -> None:
        if refused:
            raise UserError("model-int8.onnx: int8 was asked for, but OpenVINO computes 1 of 77 layers otherwise")

    def compare(engines: list[str], *_: object, **__: object) -> None:
        compared.extend(engines)
        raise ComparisonError

    monkeypatch.setattr(demo.engines, "load", load)
    monkeypatch.setattr(demo, "compare", compare)
    bundle = demo.Args().model
    model = bundle if bundled else bundle.with_name("mask-rcnn-nuclei.safetensors")
    with pytest.raises(ComparisonError):
        demo.main(demo.Args(model=model, output=tmp_path, pictures=0))
    onnx, int8 = tmp_path / "model.onnx", tmp_path / "model-int8.onnx"
    assert quantised == ([(onnx, int8)] if bundled else [])
    row = [f"{int8}@openvino:int8"] if bundled and not refused else []
    assert compared == [str(model), str(onnx), f"{onnx}@openvino:fp32", *row]
    assert ("not run: model-int8.onnx: int8 was asked for" in capsys.readouterr().out) == (bundled and refused)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": -1}, "--limit is -1; expected at least 1"),
        ({"pictures": -1}, "--pictures is -1; expected at least 0"),
    ],
)
def test_counts_that_are_too_small(
    settings: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(demo.Args(output=tmp_path, **settings)) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_no_pictures(
    toy_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_export", lambda *_: None)
    monkeypatch.setattr(demo, "engine_names", lambda *_: [str(toy_onnx)])
    assert demo.main(demo.Args(output=tmp_path, limit=1, pictures=0)) == 0
    out = capsys.readouterr().out
    assert "Δ boundary" in out
    assert "drawing" not in out
    assert "pictures: " not in out


def test_a_missing_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(demo.Args(model=tmp_path / "absent.safetensors", output=tmp_path)) == 2
    assert "absent.safetensors: no such file" in capsys.readouterr().err


def test_an_export_that_disagrees_is_shown_and_is_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def disagree(*_: object, **__: object) -> None:
        raise MismatchError("model.onnx: not written, it does not agree with PyTorch", [], PARITY["fp32"])

    monkeypatch.setattr(demo, "export_onnx", disagree)
    assert demo.main(demo.Args(output=tmp_path)) == 1
    out, err = capsys.readouterr()
    assert "Stages in ONNX Runtime, each against PyTorch fp32" in " ".join(out.split())
    assert err == "error: model.onnx: not written, it does not agree with PyTorch\n"
