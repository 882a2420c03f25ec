"""No compiled library asks for an executable stack, which some systems refuse and some processes do not survive."""

import ctypes
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from engines.compiled.noexecstack import PF_X, PT_GNU_STACK, forbid_executable_stack

ASSEMBLY = '\t.section\t.lrodata, "a"\n\t.globl\tseven\nseven:\n\t.byte 7\n'
"""Data as PyTorch's compiler assembles weights, without a word about the stack."""


def stack_flags(library: Path) -> int:
    """Flags of the program header that tells of the stack."""
    content = library.read_bytes()
    (table,), (size, count) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<HH", content, 54)
    headers = [struct.unpack_from("<II", content, table + index * size) for index in range(count)]
    (flags,) = [flags for kind, flags in headers if kind == PT_GNU_STACK]
    return flags


@pytest.fixture
def library(tmp_path: Path) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    (tmp_path / "weights.S").write_text(ASSEMBLY)
    path = tmp_path / "weights.so"
    subprocess.run([compiler, "-shared", tmp_path / "weights.S", "-o", path, "-z", "execstack"], check=True)
    return path


def test_the_wish_is_taken_back_and_the_library_still_loads(library: Path) -> None:
    assert stack_flags(library) & PF_X
    assert forbid_executable_stack(library)
    assert stack_flags(library) == 6, "readable and writable"
    assert ctypes.c_ubyte.in_dll(ctypes.CDLL(str(library)), "seven").value == 7
    assert not forbid_executable_stack(library), "there is nothing left to take back"


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("text")
    with pytest.raises(ValueError, match=r"text\.so: not a 64-bit little-endian ELF file"):
        forbid_executable_stack(text)


def test_no_library_of_a_package_has_the_wish(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path)
    libraries = sorted(tmp_path.rglob("*.so"))
    assert libraries
    assert not [each.name for each in libraries if stack_flags(each) & PF_X]
