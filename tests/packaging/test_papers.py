"""The papers of the repository say the same as the package: its version, its licence, the tools that check it."""

import re
from pathlib import Path

import refinemask

ROOT = Path(__file__).resolve().parents[2]
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d{2}-\d{2})\)$", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text()


def citation(key: str) -> str:
    (value,) = re.findall(rf"^{key}: (.+)$", read("CITATION.cff"), re.MULTILINE)
    return value.strip('"')


def releases() -> list[tuple[str, str]]:
    """Version and date of each release in the changelog, in the order of the file."""
    return RELEASE.findall(read("CHANGELOG.md"))


def test_the_newest_release_of_the_changelog_is_the_package() -> None:
    assert releases()[0][0] == refinemask.__version__


def test_every_heading_of_the_changelog_is_a_release_and_the_newest_comes_first() -> None:
    found = releases()
    assert len(found) == len(re.findall(r"^## ", read("CHANGELOG.md"), re.MULTILINE))
    versions = [tuple(map(int, version.split("."))) for version, _ in found]
    dates = [date for _, date in found]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)


def test_the_citation_is_of_the_newest_release() -> None:
    assert (citation("version"), citation("date-released")) == releases()[0]


def test_the_citation_names_the_licence_of_the_package() -> None:
    [licences] = re.findall(r'^license = "([^"]+)"', read("pyproject.toml"), re.M)
    assert licences.split(" AND ")[0] == citation("license")


def test_hooks_run_the_ruff_of_the_development_environment() -> None:
    pinned = re.findall(r'"(ruff[^"]+)"', read("pyproject.toml"))
    hooked = re.findall(r'"(ruff[^"]+)"', read(".pre-commit-config.yaml"))
    assert len(pinned) == 1
    assert len(hooked) == 2
    assert set(hooked) == set(pinned)
