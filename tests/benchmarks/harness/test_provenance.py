"""What a report says about where its numbers come from."""

import hashlib
import json
from datetime import datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path

from benchmarks.harness.provenance import provenance
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
