"""The parser of DeepStream's outputs, compiled for the host."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.deepstream.folder import PARSER

HERE = Path(__file__).parent
INCLUDES = os.environ.get("DEEPSTREAM_INCLUDE_DIR", str(HERE / "include"))
TYPES = {"float32": 0, "float16": 1, "int32": 3, "int64": 4}
"""Number of a type in nvdsinfer.h."""
MOST = 300
"""Objects that fit into the test's memory."""
Objects = tuple[NDArray[np.float32], list[NDArray[np.float32]]]
Parse = Callable[..., Objects | None]


class Array(ctypes.Structure):
    """What ``driver.cpp`` makes a layer of."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("dimensions", ctypes.c_uint),
        ("sides", ctypes.c_uint * 8),
        ("data", ctypes.c_void_p),
    ]


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Parse:
    """The parser: objects [N, 9] and the memory of their masks from one frame's outputs; None where it refuses."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    library = tmp_path_factory.mktemp("parser") / "parser.so"
    command = ["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-isystem", INCLUDES]
    subprocess.run([*command, PARSER, HERE / "driver.cpp", "-o", library], check=True)
    function: Any = ctypes.CDLL(str(library)).parse

    def call(outputs: Mapping[str, NDArray[Any]], *, classes: int = 80, threshold: float = 0.5) -> Objects | None:
        kept = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
        arrays = (Array * len(kept))(
            *(
                Array(name.encode(), TYPES[str(array.dtype)], array.ndim, (*array.shape,), array.ctypes.data)
                for name, array in kept.items()
            )
        )
        points = kept["masks"][0].size if "masks" in kept else 0
        rows, memory = np.zeros((MOST, 9), np.float32), np.zeros((MOST, max(points, 1)), np.float32)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (rows, memory)]
        count = function(arrays, len(kept), classes, ctypes.c_float(threshold), *pointers)
        return None if count < 0 else (rows[:count], list(memory[:count]))

    return call
