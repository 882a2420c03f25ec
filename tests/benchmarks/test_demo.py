"""``make demo`` in small."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import demo
from refinemask.agreement import PARITY, MismatchError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_exports_compares_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = demo.Args(output=tmp_path, limit=2, pictures=1)
    assert demo.main(args) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert [engine["name"] for engine in report["engines"]][:2] == ["PyTorch", "ONNX Runtime"]
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
