"""A comparison without a round is no comparison."""

import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["paste", "preprocess", "savings.__main__"])
def test_no_round_is_one_line_and_code_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--rounds", "0"])
    assert import_module(f"benchmarks.{name}").main() == 2
    assert capsys.readouterr().err.strip() == "error: --rounds is 0; expected at least 1"
