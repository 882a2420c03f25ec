"""What the command refuses before it becomes the server."""

import sys
from pathlib import Path

import pytest

from scripts import triton_server


def test_a_path_that_the_server_would_split_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["triton_server", str(tmp_path / "my models")])
    # So that it would end in an error, and never become a server.
    monkeypatch.setattr(triton_server, "packages_of", lambda found: pytest.fail("the path was not refused"))
    assert triton_server.main() == 2
    assert "no path with a space" in capsys.readouterr().err
