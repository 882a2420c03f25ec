"""Contexts on the CPU, with the kernels compiled for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.plan import Plan
from tests.support.host_kernels import build_cache, host_library
from trt_plugins.c_api import Kernels
from trt_plugins.torch_kernels import TorchKernels

__all__ = ["build_cache", "host_library"]
MakeContext = Callable[..., Context]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """Makes a context on the CPU with tiny sizes; options are those of the plan, and the library."""

    def make(library: Path | None = None, **options: Any) -> Context:
        plan = Plan(output=tmp_path / "out", device="cpu", tiny=True, **options)
        (tmp_path / "scratch").mkdir(exist_ok=True)
        return Context(plan=plan, scratch=tmp_path / "scratch", library=library)

    return make


@pytest.fixture
def kernels(host_library: Path) -> TorchKernels:
    """The kernels compiled for the CPU."""
    return TorchKernels(Kernels(host_library))
