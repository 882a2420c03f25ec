"""Fixtures: a tiny detector that is compiled for the CPU, once for as long as what it is made from stays the same."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

import benchmarks.harness.random_detector
import engines.compiled
import refinemask.modeling
import refinemask.ops
from engines import build
from engines.build import CheckOptions, CompileOptions
from refinemask.bundled import PHOTOS
from refinemask.weights import save_detector
from tests.support import tiny_detector
from tests.support.once import once
from tests.support.tiny_detector import make_tiny_detector

CANVAS, BATCH = (64, 96), 2
"""What the package is compiled for."""


@pytest.fixture(scope="session")
def package_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that outlives the test run, unless pytest runs without its cache (``-p no:cacheprovider``)."""
    cache = getattr(pytestconfig, "cache", None)
    return tmp_path_factory.mktemp("compiled") if cache is None else cache.mkdir("compiled")


@pytest.fixture(scope="session")
def tiny_package(package_cache: Path) -> Path:
    """``tiny.pt2`` with its sidecar, as the command compiles it, and ``tiny.safetensors`` beside it.

    The first time takes a minute.
    """
    if shutil.which("g++") is None:
        pytest.skip("needs g++")

    def compile_for_the_cpu(directory: Path) -> None:
        checkpoint = directory / "tiny.safetensors"
        save_detector(make_tiny_detector(), checkpoint, recipe="tiny")
        options, pictures = CompileOptions(device="cpu", canvases=(CANVAS,), batch=BATCH), CheckOptions(images=PHOTOS)
        args = build.Args(model=checkpoint, output=directory / "tiny.pt2", compile=options, comparison=pictures)
        assert build.main(args) == 0

    return once(package_cache / f"tiny-{_digest()}", compile_for_the_cpu) / "tiny.pt2"


@pytest.fixture
def package(tiny_package: Path, tmp_path: Path) -> Path:
    """A copy of the package, its sidecar and its checkpoint, for a test to change."""
    for path in tiny_package.parent.glob("tiny.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / tiny_package.name


def _digest() -> str:
    """A digest of all that a package depends on."""
    packages = engines.compiled, refinemask.modeling, refinemask.ops
    sources = [path for package in packages for path in Path(package.__path__[0]).glob("*.py")]
    modules = benchmarks.harness.random_detector, tiny_detector
    sources += [Path(str(module.__file__)) for module in modules]
    target = torch.__version__, torch.backends.cpu.get_cpu_capability(), CANVAS, BATCH
    digest = hashlib.sha256(repr(target).encode())
    for path in sorted(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
