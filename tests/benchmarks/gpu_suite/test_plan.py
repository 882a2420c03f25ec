"""The suite's command line."""

import os
from pathlib import Path

import pytest

from benchmarks.gpu_suite import __main__ as gpu_suite
from benchmarks.gpu_suite.plan import Plan, parse_plan
from refinemask.provenance import REVISION_VARIABLE, git_revision

NAMES = ("numerics", "training")


def parse(line: str) -> Plan:
    return parse_plan(NAMES, line.split())


def test_old_and_new_spellings_mean_the_same() -> None:
    assert parse("-o out/gpu") == parse("--output out/gpu") == parse("--out out/gpu") == Plan(output=Path("out/gpu"))


def test_every_option_reaches_the_plan() -> None:
    found = parse("-o out --device cpu --tiny --minutes 2.5 --part training numerics")
    assert found == Plan(output=Path("out"), device="cpu", tiny=True, minutes=2.5, parts=("training", "numerics"))


def test_an_unknown_part_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("-o out --part numerics speed")
    assert ended.value.code == 2
    assert "invalid choice: 'speed' (choose from" in capsys.readouterr().err


def test_the_help_shows_only_the_new_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    words = capsys.readouterr().out.split()
    assert "--output" in words
    assert "--out" not in words


def test_a_revision_is_that_of_this_process_and_its_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(REVISION_VARIABLE, "before")
    monkeypatch.setattr("refinemask.provenance.__file__", str(tmp_path / "provenance.py"))
    parse("-o out")
    assert git_revision() == "before"
    parse("-o out --revision abc")
    assert git_revision() == os.environ[REVISION_VARIABLE] == "abc"


def test_without_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu_suite.torch.cuda, "is_available", lambda: False)
    assert gpu_suite.main(Plan(output=tmp_path / "out")) == 2
    assert capsys.readouterr().err.startswith("error: no CUDA device")
    assert not (tmp_path / "out").exists()


def test_negative_minutes_are_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gpu_suite", "-o", "out", "--minutes=-1"])
    assert gpu_suite.main() == 2
    assert capsys.readouterr().err == "error: --minutes is -1; expected 0 at least\n"
