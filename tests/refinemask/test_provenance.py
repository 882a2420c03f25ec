"""What the code says about its own revision."""

import subprocess
from pathlib import Path

import pytest

from refinemask import provenance
from refinemask.provenance import REVISION_VARIABLE, git_revision


def test_revision_marks_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "refinemask" / "provenance.py"))
    assert git_revision() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    clean = git_revision()
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert git_revision() == f"{clean}-dirty"
    # A copy of newer files may have come with an older history.
    monkeypatch.setenv(REVISION_VARIABLE, "abc")
    assert git_revision() == "abc"
