"""The command line of the exporter."""

import sys
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest

from export import Finding, stages, to_onnx, verified_export
from export.to_onnx import Args, main
from export.verified_export import export_onnx
from refinemask.bundled import PHOTOS


@pytest.fixture
def ready_made(tiny_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model, handed out in place of a new graph."""
    monkeypatch.setattr(verified_export, "to_onnx", lambda *_, **__: ir.load(tiny_files[1]))


def printed(text: str) -> str:
    """What the terminal shows, without its line breaks."""
    return " ".join(text.split())


@pytest.mark.usefixtures("ready_made")
def test_the_tables_stand_before_the_verdict(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = Args(checkpoint=tiny_files[0], output=tmp_path / "tiny.onnx", verify_images=PHOTOS)
    with monkeypatch.context() as patched:
        patched.setitem(stages.MASK_LIMITS, "fp32", stages.Limits(mean=0, row=0))
        assert main(args) == 1
    out, err = capsys.readouterr()
    assert "Stages in ONNX Runtime" in out
    assert [line.split()[-2] for line in out.splitlines() if line.startswith("│ masks")] == ["no"]
    assert "2x64x128" in out
    assert err.startswith(f"error: {args.output}: not written, its masks are not PyTorch's on images of 1x64x128: ")
    assert err.count("\n") == 1
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert "2x64x128" in out
    assert [line.split()[-2] for line in out.splitlines() if line.startswith("│ masks")] == ["yes"]
    assert out.endswith(f"{args.output}: written and verified\n")
    assert err == ""


@pytest.mark.usefixtures("ready_made")
def test_what_remains_open_is_said(
    tiny_files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = export_onnx(tiny_files[0], tmp_path / "tiny.onnx", verify_images=PHOTOS)
    refusals = (Finding("TopK a/TopK", "k is 5000, the limit is 3840"),)
    monkeypatch.setattr(to_onnx, "export_onnx", lambda *_, **__: replace(report, comparisons=(), refusals=refusals))
    assert main(Args(checkpoint=tiny_files[0], output=tmp_path / "tiny.onnx")) == 0
    out = printed(capsys.readouterr().out)
    assert "No picture has a detection: boxes and masks remain unverified; try --verify-images" in out
    assert "TensorRT will refuse TopK a/TopK: k is 5000, the limit is 3840" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"static": (64, 64), "max": (96, 96)}, "leave out"),
        ({"static": (60, 64)}, "multiples of 32"),
        ({"opt": (256, 256)}, "smallest <= typical <= largest"),
        ({"batch": (1, 4)}, "one number, or"),
        ({"batch": (0,)}, "1 <= smallest"),
        ({"masks": "found", "precision": "bf16"}, "--masks found with --precision bf16"),
        ({"masks": "found", "bodies": False}, "--masks found with --no-bodies"),
        ({"opset": 0}, "--opset 0 with --precision fp32: expected 18 to 21"),
        ({"opset": 17}, "expected 18 to 21"),
        ({"opset": 22}, "expected 18 to 21"),
        ({"opset": 99, "precision": "fp16"}, "expected 18 to 21"),
        ({"opset": 21, "precision": "bf16"}, "--opset 21 with --precision bf16: expected 22 to 24"),
        ({"verify_images": Path("nowhere")}, "no pictures"),
        ({"checkpoint": Path("nowhere.safetensors")}, "no such file"),
    ],
)
def test_wrong_input(
    options: dict, message: str, tiny_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tiny.onnx"
    assert main(Args(**{"checkpoint": tiny_files[0], "output": output, "verify_images": PHOTOS} | options)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not output.exists()


def test_old_spellings_of_the_command_line_still_work(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"to_onnx --checkpoint {tiny_files[0]} --output {tmp_path / 'a.onnx'} --static 60"
    monkeypatch.setattr(sys, "argv", line.split())
    assert main() == 2
    assert "size '60': expected HEIGHTxWIDTH" in capsys.readouterr().err
