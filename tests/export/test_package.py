"""The package's face."""

import subprocess
import sys

import pytest

import export


def test_every_name_is_there() -> None:
    assert [name for name in export.__all__ if getattr(export, name).__name__ != name] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        export.nothing  # noqa: B018


def test_checking_a_file_loads_no_heavy_library() -> None:
    code = "import sys, export.check; from export import check_onnx; print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
