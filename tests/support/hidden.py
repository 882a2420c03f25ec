"""The environment of a process that does not find some of the packages that are installed."""

import os
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "hidden_packages"


def without(packages: Iterable[str]) -> dict[str, str]:
    """This process's environment, for a child that does not find the top-level ``packages``."""
    return {**os.environ, "PYTHONPATH": str(FOLDER), "HIDDEN_PACKAGES": " ".join(packages), "OMP_NUM_THREADS": "1"}
