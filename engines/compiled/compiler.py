"""The C++ compiler that compiled code is made by."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from refinemask.files import UserError
from refinemask.foreign import one_line

PROGRAM = "#include <locale>\nstd::locale chosen;\n"
"""A library that needs the C++ library."""
SHARED = (b"libstdc++.so", b"libc++.so")
"""C++ libraries by the names that a library which needs one has in it."""
OTHERS = ("g++", "/usr/bin/g++", "c++", "clang++")
"""Compilers that may do where the chosen one does not."""


def require_compiler(checkpoint: os.PathLike[str]) -> None:
    """Refuse a C++ compiler that is missing, or whose code would crash beside PyTorch; ``CXX`` names it.

    Some compilers find no shared C++ library and link a copy into all that they make. PyTorch brings the shared one
    into the same process, and compiled code then takes some of its parts from the one and some from the other.

    Raises:
        UserError: there is no such program, it links nothing, or it links such a copy.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"{checkpoint}: compiling needs a C++ compiler, and there is no program '{compiler}'; install g++, or name "
            "another compiler in the variable CXX"
        )
    if not shares_cpp_library(compiler):
        better = next((other for other in OTHERS if other != compiler and _would_do(other)), None)
        advice = f"with CXX={better}" if better else "with a compiler in CXX that finds libstdc++.so"
        raise UserError(
            f"{checkpoint}: '{compiler}' links a copy of the C++ library into what it makes, which crashes beside "
            f"PyTorch's; compile again {advice}"
        )


def shares_cpp_library(compiler: str) -> bool:
    """Whether what a compiler links takes the C++ library from the process that it is loaded into.

    Raises:
        UserError: it does not link a shared library.
    """
    with TemporaryDirectory() as directory:
        source, library = Path(directory, "program.cpp"), Path(directory, "program.so")
        source.write_text(PROGRAM)
        command = [compiler, "-shared", "-fPIC", str(source), "-o", str(library)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise UserError(f"'{compiler}' cannot be run: {error.strerror}; name another compiler in CXX") from error
        if done.returncode or not library.is_file():
            said = one_line((done.stderr.strip().splitlines() or ["nothing was said"])[-1])
            raise UserError(f"'{compiler}' cannot make a shared library: {said}; name another compiler in CXX")
        return any(name in library.read_bytes() for name in SHARED)


def _would_do(compiler: str) -> bool:
    try:
        return shutil.which(compiler) is not None and shares_cpp_library(compiler)
    except UserError:
        return False
