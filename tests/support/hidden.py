"""The environment of a process that does not find some of the packages that are installed."""

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent / "hidden_packages"
BASE = ["msgspec", "numpy", "opencv-python-headless", "pillow", "pycocotools", "rich", "tqdm", "tyro"]
OURS = {"refinemask", "export", "engines", "trt_plugins", "benchmarks"}


def without(packages: Iterable[str]) -> dict[str, str]:
    """This process's environment, for a child that finds this checkout, and not the top-level ``packages``."""
    path = os.pathsep.join(map(str, (FOLDER, ROOT)))
    return {**os.environ, "PYTHONPATH": path, "HIDDEN_PACKAGES": " ".join(packages), "OMP_NUM_THREADS": "1"}


def all_but(*distributions: str) -> set[str]:
    """Top-level packages of this environment that come from neither the base nor ``distributions``."""
    kept = {each for name in [*BASE, *distributions] for each in _needs(name)}
    owners = packages_distributions()
    return {name for name, found in owners.items() if not kept & {canonicalize_name(each) for each in found}} - OURS


def _needs(name: str) -> Iterator[str]:
    """A distribution and all that it needs, by its canonical name."""
    yield canonicalize_name(name)
    for text in distribution(name).requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from _needs(requirement.name)
