"""The libraries as nvcc builds them, and the kernels compiled for the CPU."""

from pathlib import Path

import pytest
from filelock import FileLock

from refinemask.files import UserError
from tests.support.host_kernels import build_cache, host_functions, host_kernels, host_library, schedule
from trt_plugins.libraries import build_libraries

__all__ = ["build_cache", "host_functions", "host_kernels", "host_library", "schedule"]


@pytest.fixture(scope="session")
def built(build_cache: Path) -> Path:
    """The directory of the libraries as nvcc builds them, for all architectures."""
    try:
        with FileLock(build_cache / "lib.lock"):
            build_libraries(build_cache / "lib")
    except UserError as error:
        if str(error).startswith(("nvcc not found", "cmake not found")):
            pytest.skip(str(error))
        raise
    return build_cache / "lib"


@pytest.fixture(scope="session")
def plugin_library(built: Path) -> Path:
    library = built / "librefinemask_plugins.so"
    if not library.is_file():
        pytest.skip("needs TensorRT's headers: set TENSORRT_ROOT or TENSORRT_INCLUDE_DIR")
    return library
