"""The wheels of this checkout, and an environment that has them and does not see the checkout."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.support.once import once


class Environment(NamedTuple):
    """An environment with our wheels; third-party packages come from the environment of the tests."""

    python: Path
    packages: Path
    """Folder of the installed packages."""

    @property
    def command(self) -> Path:
        return self.python.with_name("refinemask")


@pytest.fixture(scope="session")
def wheels(run_directory: Path) -> dict[str, Path]:
    """The wheels by the name of their distribution."""

    def make(directory: Path) -> None:
        for project in (ROOT, ROOT / "benchmarks"):
            build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
            done = subprocess.run(build, cwd=project, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

    return {path.name.split("-")[0]: path for path in once(run_directory / "wheels", make).glob("*.whl")}


@pytest.fixture(scope="session")
def installed(wheels: dict[str, Path], run_directory: Path) -> Environment:
    """Both wheels, installed outside the checkout."""

    def make(directory: Path) -> None:
        # Scripts of an environment hold its path, which the rename after this would change.
        final = directory.with_name("environment-of-the-wheels")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(final)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(_python(final)), "--disable-pip-version-check"]
        install = ["install", "--quiet", "--no-deps", "--no-index", *map(str, wheels.values())]
        subprocess.run(pip + install, check=True)
        # A plain line of a .pth file: other .pth files there, such as that of the checkout, are not read.
        (_packages(final) / "third_party.pth").write_text(
            "\n".join(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
        )

    once(run_directory / "wheels-are-installed", make)
    environment = run_directory / "environment-of-the-wheels"
    return Environment(_python(environment), _packages(environment))


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _packages(environment: Path) -> Path:
    return environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
