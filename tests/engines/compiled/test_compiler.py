"""Compilers whose code would crash beside PyTorch are refused, and one that would do is named."""

import re
import shutil
from pathlib import Path

import pytest

from engines.compiled import compiler as compilers
from engines.compiled.compiler import require_compiler, shares_cpp_library
from refinemask.files import UserError

CHECKPOINT = Path("tiny.safetensors")
GXX = shutil.which("g++")
pytestmark = pytest.mark.skipif(GXX is None, reason="needs g++")


def wrapper(directory: Path, options: str) -> str:
    """A compiler that is g++ with further options."""
    path = directory / "compiler"
    path.write_text(f'#!/bin/sh\nexec {GXX} "$@" {options}\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def copying(tmp_path: Path) -> str:
    """A compiler that links a copy of the C++ library."""
    path = wrapper(tmp_path, "-static-libstdc++")
    if shares_cpp_library(path):
        pytest.skip("needs a static C++ library")
    return path


def test_a_compiler_with_a_shared_library_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("g++", wrapper(tmp_path, "-O1")):
        monkeypatch.setenv("CXX", name)
        require_compiler(CHECKPOINT)
    monkeypatch.delenv("CXX")
    require_compiler(CHECKPOINT)


def test_one_that_links_a_copy_is_refused_and_another_named(copying: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", copying)
    with pytest.raises(UserError) as caught:
        require_compiler(CHECKPOINT)
    assert str(caught.value) == (
        f"tiny.safetensors: '{copying}' links a copy of the C++ library into what it makes, which crashes beside "
        "PyTorch's; compile again with CXX=g++"
    )


def test_where_no_other_would_do_the_library_is_named(copying: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", copying)
    monkeypatch.setattr(compilers, "OTHERS", (copying, "g++-99"))
    with pytest.raises(UserError, match=r"compile again with a compiler in CXX that finds libstdc\+\+\.so$"):
        require_compiler(CHECKPOINT)


def test_one_that_links_nothing_is_refused_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", wrapper(tmp_path, "-no-such-option"))
    with pytest.raises(UserError, match=r"compiler' cannot make a shared library: .+; name another compiler in CXX$"):
        require_compiler(CHECKPOINT)


def test_one_that_is_no_program_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "compiler"
    path.write_bytes(b"\x7fELF no program")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    with pytest.raises(UserError, match=r"compiler' cannot be run: Exec format error; name another compiler in CXX$"):
        require_compiler(CHECKPOINT)


@pytest.mark.parametrize("name", ["g++-99", "", "/tmp"])
def test_a_missing_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CXX", name)
    with pytest.raises(UserError, match=rf"tiny\.safetensors: .*no program '{re.escape(name)}'; install g\+\+, or"):
        require_compiler(CHECKPOINT)
