"""Fixtures: the kernels compiled for the CPU, over a stand-in for CUDA's threads."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.once import once
from trt_plugins import PACKAGE
from trt_plugins.c_api import Kernels

HERE = Path(__file__).resolve().parents[1] / "trt_plugins"
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-unknown-pragmas")


@pytest.fixture(scope="session")
def build_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that outlives the test run, unless pytest runs without its cache (``-p no:cacheprovider``)."""
    cache = getattr(pytestconfig, "cache", None)
    return tmp_path_factory.mktemp("trt_plugins") if cache is None else cache.mkdir("trt_plugins")


@pytest.fixture(scope="session")
def host_library(build_cache: Path) -> Path:
    """The kernels' own sources, compiled for the CPU over a small stand-in for CUDA's threads."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    shim = HERE / "cuda_on_host"
    sources = [*sorted((PACKAGE / "kernels").glob("*.cu")), shim / "scheduler.cpp", HERE / "host_functions.cpp"]
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted([*(PACKAGE / "kernels").iterdir(), *shim.iterdir(), HERE / "host_functions.cpp"]):
        digest.update(path.read_bytes())
    name = "libhost_kernels.so"

    def compile_for_the_cpu(directory: Path) -> None:
        includes = [f"-I{shim}", f"-I{PACKAGE / 'kernels'}"]
        command = [compiler, *FLAGS, *includes, "-x", "c++", *map(str, sources), "-o", str(directory / name)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "warning" not in result.stderr, result.stderr

    return once(build_cache / f"host-{digest.hexdigest()[:16]}", compile_for_the_cpu) / name


@pytest.fixture(scope="session")
def host_functions(host_library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(os.fspath(host_library))


@pytest.fixture(scope="session")
def schedule(host_functions: ctypes.CDLL) -> Callable[[int, int, int], None]:
    """Chooses the order of a block's threads (0: by index), the number of multiprocessors and their shared memory."""
    return host_functions.cuda_on_host_configure


@pytest.fixture
def host_kernels(host_library: Path, schedule: Callable[[int, int, int], None]) -> Kernels:
    schedule(0, 4, 100)
    return Kernels(host_library)
