"""A library is loaded only if it is what was built there."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from engines.trt.api import load_plugins
from refinemask.files import UserError, sha256
from trt_plugins import PLUGIN_LIBRARY, REPORT, require_as_built, torch_ops
from trt_plugins.c_api import Kernels
from trt_plugins.python_plugin import base

KERNELS = "librefinemask_kernels.so"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default directory with libraries, which are none, and their report."""
    for name in (KERNELS, PLUGIN_LIBRARY):
        (tmp_path / name).write_bytes(b"built")
    digests = {name: sha256(tmp_path / name) for name in (KERNELS, PLUGIN_LIBRARY)}
    (tmp_path / REPORT).write_text(json.dumps({"library_sha256": digests}))
    monkeypatch.setattr("trt_plugins.LIBRARY_DIR", tmp_path)
    return tmp_path


def test_what_was_built_is_taken_and_anything_else_refused(directory: Path) -> None:
    library = directory / KERNELS
    require_as_built(library)
    library.write_bytes(b"built otherwise")
    with pytest.raises(UserError, match=rf"{KERNELS}: refused, its SHA-256 is .* {REPORT} beside it says .*") as error:
        require_as_built(library)
    assert str(error.value).endswith("build it again: python -m trt_plugins.build")
    link = directory / "elsewhere" / KERNELS
    link.parent.mkdir()
    link.symlink_to(library)
    with pytest.raises(UserError, match="refused"):
        require_as_built(link)


def test_a_library_of_another_build_is_taken_as_it_is(directory: Path) -> None:
    (directory / KERNELS).write_bytes(b"built otherwise")
    (directory / REPORT).write_text('{"sha256": "of the sources alone, as version 0.5.0 wrote it"}')
    require_as_built(directory / KERNELS)
    (directory / REPORT).unlink()
    require_as_built(directory / KERNELS)


@pytest.mark.parametrize("content", ["{", "[]", '{"library_sha256": []}'])
def test_a_damaged_report_is_named(directory: Path, content: str) -> None:
    (directory / REPORT).write_text(content)
    with pytest.raises(UserError, match=rf"{REPORT}: .*python -m trt_plugins\.build"):
        require_as_built(directory / KERNELS)


def in_tensorrt(path: Path) -> None:
    trt: Any = ModuleType("tensorrt")
    trt.get_plugin_registry = lambda: pytest.fail("it was loaded")
    load_plugins(trt, path / PLUGIN_LIBRARY, None)


def in_python_plugins(path: Path) -> None:
    base._kernels.cache_clear()
    base._kernels()


@pytest.mark.parametrize(
    "load",
    [
        lambda path: Kernels(path / KERNELS),
        lambda path: torch_ops.enable_if_available(),
        in_python_plugins,
        in_tensorrt,
    ],
    ids=["kernels", "PyTorch", "Python plugins", "TensorRT"],
)
def test_every_path_refuses(directory: Path, monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in (KERNELS, PLUGIN_LIBRARY):
        (directory / name).write_bytes(b"built otherwise")
    with pytest.raises(UserError, match="refused, its SHA-256 is"):
        load(directory)
