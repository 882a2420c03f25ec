"""Whether this environment has the lowest versions that the project allows: ``python -m scripts.lower_bounds``.

``make test-oldest`` asks it before the tests run, so that every lower bound is a version that they ran with.
"""

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from refinemask.exit_codes import exit_code
from refinemask.files import FailedCheckError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
OURS = {"refinemask", "refinemask-benchmarks"}
LOWEST = (">=", "==", "~=")
"""Operators of a lower bound."""


def requirements(project: Path) -> Iterator[Requirement]:
    """What a ``pyproject.toml`` asks for on this machine, in all extras, without this project's own packages."""
    content = tomllib.loads(project.read_text())["project"]
    for lines in (content["dependencies"], *content.get("optional-dependencies", {}).values()):
        for line in lines:
            requirement = Requirement(line)
            if requirement.name not in OURS and (requirement.marker is None or requirement.marker.evaluate()):
                yield requirement


def other_versions(wanted: Iterator[Requirement]) -> list[str]:
    """A line for each installed package that is not the lowest one allowed; packages that are missing are left out."""
    found = []
    for requirement in wanted:
        bounds = [each.version.removesuffix(".*") for each in requirement.specifier if each.operator in LOWEST]
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        # What follows a plus sign says how a package was built.
        if Version(Version(installed).public) not in [Version(bound) for bound in bounds]:
            found.append(f"{requirement}: {installed} is installed")
    return sorted(set(found))


def _check() -> None:
    found = [
        line
        for project in (ROOT / "pyproject.toml", ROOT / "benchmarks" / "pyproject.toml")
        for line in other_versions(requirements(project))
    ]
    if found:
        raise FailedCheckError(f"{len(found)} versions are not the lowest ones: {'; '.join(found)}")


if __name__ == "__main__":
    raise SystemExit(exit_code(_check))
