"""The environment of a process that does not find some of the packages that are installed."""

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, distributions
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


def all_but(*names: str) -> set[str]:
    """Top-level packages of this environment that come from neither the base nor the distributions ``names``."""
    kept = {each for name in [*BASE, *names] for each in needs(name)}
    found = {True: set[str](), False: set[str]()}
    for each in distributions():
        found[canonicalize_name(each.metadata["Name"]) in kept].update(_packages(each))
    return found[False] - found[True] - OURS


def _packages(installed: Distribution) -> Iterator[str]:
    """Names of the packages and modules that a distribution puts beside those of others.

    ``packages_distributions`` of Python 3.10 knows only those that a distribution lists in ``top_level.txt``.
    """
    for file in installed.files or []:
        if file.suffix in {".py", ".so", ".pyd"} and not file.parts[0].startswith(("..", "__")):
            yield file.parts[0].split(".")[0]


def needs(name: str) -> Iterator[str]:
    """A distribution and all that it needs, by its canonical name."""
    yield canonicalize_name(name)
    for text in distribution(name).requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from needs(requirement.name)
