"""Fixtures every test may use. It imports no PyTorch: the tests of tests/without_torch.txt run without it."""

import json
import os
import signal
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinemask.bundled import PHOTOS
from tests.support.once import once
from tests.support.oracle_weights import make_weights

if TYPE_CHECKING:
    import torch

    from tests.support.fixture_types import OfficialDetector, OfficialState

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).resolve().parent / "golden"


def pytest_configure(config: pytest.Config) -> None:
    """Processes that tests start compute with one thread each beside another worker, and can be interrupted."""
    if hasattr(config, "workerinput"):
        # Before any test imports PyTorch, which reads it then.
        os.environ["OMP_NUM_THREADS"] = "1"
    # A shell that runs the tests in the background ignores Ctrl-C, and so would the processes that are to be stopped.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Outputs of the official model, by file name (golden/README.md)."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@lru_cache(maxsize=1)
def _official_state(name: str) -> "dict[str, torch.Tensor]":
    import torch

    keys = json.loads((GOLDEN / "official_keys" / f"{name}.json").read_text())
    return {key: torch.from_numpy(value) for key, value in make_weights(keys).items()}


@pytest.fixture(scope="session")
def official_state() -> "OfficialState":
    """A state dict with an official checkpoint's keys and generated weights."""
    return _official_state


@pytest.fixture(scope="session")
def official_detector() -> "OfficialDetector":
    """A detector of ours holding :func:`official_state`."""
    from refinemask.modeling.detector import Detector
    from refinemask.official.detector import load_official, recognise

    @lru_cache(maxsize=2)
    def build(name: str) -> Detector:
        state = _official_state(name)
        detector = Detector(recognise(state)).eval()
        load_official(detector, state)
        return detector

    return build


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this test run, the same in all its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def tiny_files(run_directory: Path) -> tuple[Path, Path]:
    """A tiny RefineMask as a checkpoint and as the ONNX file that the exporter makes of it."""
    from export import export_onnx
    from refinemask.weights import save_detector
    from tests.support.tiny_detector import make_tiny_detector

    def make(directory: Path) -> None:
        checkpoint = directory / "tiny.safetensors"
        save_detector(make_tiny_detector(), checkpoint, recipe="tiny")
        export_onnx(checkpoint, directory / "tiny.onnx", verify_images=PHOTOS)

    directory = once(run_directory / "tiny", make)
    return directory / "tiny.safetensors", directory / "tiny.onnx"
