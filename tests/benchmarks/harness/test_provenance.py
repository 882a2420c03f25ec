"""What a report says about where its numbers come from."""

import hashlib
import json
import subprocess
from datetime import datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks.harness import provenance as module
from benchmarks.harness.provenance import git_revision, provenance
from benchmarks.harness.report_file import to_json


def test_names_files_versions_and_machine(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    found = to_json(provenance([file, file]))
    assert found["files"] == {"model.onnx": {"sha256": hashlib.sha256(b"weights").hexdigest(), "bytes": 7}}
    assert found["versions"]["numpy"] == metadata.version("numpy")
    assert found["cpu"]["cores"] >= 1
    age = datetime.now(timezone.utc) - datetime.fromisoformat(found["date"])
    assert timedelta(seconds=-1) < age < timedelta(minutes=1)
    assert str(tmp_path) not in json.dumps(found), "no directory of the machine may get into a report"


def test_revision_marks_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
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
