"""The check that an environment has the lowest versions that are allowed."""

from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from scripts.lower_bounds import other_versions, requirements

ROOT = Path(__file__).resolve().parents[2]


def test_only_another_version_than_the_lowest_is_named() -> None:
    installed = metadata.version("numpy")
    lines = [f"numpy>={installed},<99", "numpy>=1.0", f"numpy=={installed}", "no-such-package>=1", "numpy<99"]
    found = other_versions(map(Requirement, lines))
    assert found == [f"numpy<99: {installed} is installed", f"numpy>=1.0: {installed} is installed"]


def test_the_requirements_are_those_of_all_extras() -> None:
    names = {requirement.name for requirement in requirements(ROOT / "pyproject.toml")}
    assert {"numpy", "torch", "onnx", "pytest"} <= names
    assert "refinemask" not in names
    assert {each.name for each in requirements(ROOT / "benchmarks" / "pyproject.toml")} == {
        "matplotlib",
        "nvidia-ml-py",
    }


def test_every_requirement_has_a_lower_bound() -> None:
    for project in (ROOT / "pyproject.toml", ROOT / "benchmarks" / "pyproject.toml"):
        for requirement in requirements(project):
            assert any(each.operator in (">=", "==") for each in requirement.specifier), requirement
