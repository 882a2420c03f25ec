"""The command, in both forms a user may type."""

import json
import os
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest

from benchmarks import fps

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("form", [["-m", "benchmarks.fps"], ["benchmarks/fps.py"]])
def test_both_forms_run(form: list[str], toy_onnx: Path, pictures: list[Path], tmp_path: Path) -> None:
    output, page = tmp_path / "fps.json", tmp_path / "my page.html"
    arguments = [str(toy_onnx), "--images", str(pictures[0].parent), "--threads", "1", "--warmup", "0"]
    done = subprocess.run(
        [sys.executable, *form, *arguments, "--limit", "2", "--output", str(output), "--report", str(page)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime" in done.stdout
    report = json.loads(output.read_text())
    assert report["batches"] == [["0.png"], ["1.png"]]
    assert report["command"].startswith("python -m benchmarks.fps " if "-m" in form else "benchmarks/fps.py ")
    assert report["command"].endswith(f"--report '{page}'")
    assert escape(report["command"]) in page.read_text()


@pytest.mark.parametrize("option", ["--threads", "--rounds", "--limit"])
def test_counts_below_one_are_one_line_and_code_2(
    option: str, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fps", "a.onnx", "--images", str(pictures[0].parent), option, "-1"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert fps.main() == 2
    assert capsys.readouterr().err == f"error: {option} is -1; expected at least 1\n"


@pytest.mark.parametrize(("directory", "message"), [("pictures", "a.onnx: no such file"), (".", "holds no image")])
def test_mistakes_are_one_line_and_code_2(
    directory: str, message: str, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fps.main(fps.Args(engines=(str(tmp_path / "a.onnx"),), images=tmp_path / directory)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
