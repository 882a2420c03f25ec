"""Engines named on the command line."""

from pathlib import Path

import pytest

from benchmarks.harness.spec import EngineSpec, ResultsSpec, openvino_precisions, parse_spec
from refinemask.files import UserError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a/model.onnx", EngineSpec(Path("a/model.onnx"))),
        ("model.onnx@openvino", EngineSpec(Path("model.onnx"), "openvino")),
        ("model.onnx@openvino:bf16", EngineSpec(Path("model.onnx"), "openvino", "bf16")),
        ("model.onnx@openvino:int8+bf16", EngineSpec(Path("model.onnx"), "openvino", "int8+bf16")),
        ("model@v2.onnx", EngineSpec(Path("model@v2.onnx"))),
    ],
)
def test_parse(text: str, spec: EngineSpec) -> None:
    assert EngineSpec.parse(text) == spec


def test_named_without_directory() -> None:
    assert str(EngineSpec.parse("a/b/model.onnx@openvino:bf16")) == "model.onnx@openvino:bf16"


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    for name in ("a@b c.onnx", "a@openvino:.onnx", "a@", "a\nb.onnx"):
        path = tmp_path / name
        path.touch()
        (tmp_path / "a").touch()
        assert EngineSpec.parse(str(path)) == EngineSpec(path)


PLUSES = ("openvino:int8+", "openvino:+bf16", "openvino:int8+bf16+fp32")


@pytest.mark.parametrize(
    "options", ["", ":", "openvino:", ":bf16", "openvino:bf16:2", "open vino", "openvino:bf-16", *PLUSES]
)
def test_what_is_wrong_behind_the_file_is_named(options: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    with pytest.raises(UserError) as caught:
        EngineSpec.parse(f"{path}@{options}")
    assert "expected PATH" in str(caught.value)
    assert repr(options) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_text_is_refused() -> None:
    with pytest.raises(UserError, match="an engine is PATH"):
        EngineSpec.parse("")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a/theirs.json", ResultsSpec(Path("a/theirs.json"), "theirs")),
        ("theirs.JSON@yolo", ResultsSpec(Path("theirs.JSON"), "yolo")),
        ("v@2.json@YOLO 11x:31.5", ResultsSpec(Path("v@2.json"), "YOLO 11x", 31.5)),
    ],
)
def test_results_are_named(text: str, spec: ResultsSpec) -> None:
    assert parse_spec(text) == spec
    with pytest.raises(UserError, match="is a results file, of which no speed can be measured"):
        EngineSpec.parse(text)


@pytest.mark.parametrize("options", ["", " ", ":", ":5", "yolo:", "yolo:fast", "yolo:0", "yolo:nan", "a:b:5"])
def test_what_is_wrong_behind_results_is_named(options: str) -> None:
    with pytest.raises(UserError, match=r"expected a name behind the results file, and a colon and its latency"):
        parse_spec(f"theirs.json@{options}")


@pytest.mark.parametrize(
    ("capabilities", "fp32", "int8", "missing"),
    [
        (["FP32"], ["fp32"], [], ["bf16", "no int8"]),
        (["FP32", "INT8"], ["fp32"], ["int8"], ["bf16", r"int8+bf16"]),
        (["FP32", "INT8", "BF16"], ["fp32", "bf16"], ["int8", "int8+bf16"], []),
    ],
)
def test_precisions_of_openvino_here(
    capabilities: list[str],
    fp32: list[str],
    int8: list[str],
    missing: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: capabilities)
    assert (openvino_precisions(), openvino_precisions("int8")) == (fp32, int8)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(missing)
    for text, line in zip(missing, said, strict=True):
        assert f"OpenVINO {text}" in line or f"OpenVINO has {text}" in line
