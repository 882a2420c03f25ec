"""Energy of the CPU's packages from a tree as Linux has it."""

from pathlib import Path

import pytest

from benchmarks.harness import rapl
from benchmarks.harness.rapl import open_rapl


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages, the cores of one, and the whole board."""
    names = {"0": "package-0", "0:0": "core", "1": "package-1", "2": "psys"}
    for number, name in names.items():
        domain = tmp_path / f"intel-rapl:{number}"
        domain.mkdir()
        (domain / "name").write_text(f"{name}\n")
        (domain / "max_energy_range_uj").write_text("1000000\n")
        (domain / "energy_uj").write_text("900000\n")
    monkeypatch.setattr(rapl, "POWERCAP", tmp_path)
    return tmp_path


def count(powercap: Path, number: str, microjoules: int) -> None:
    (powercap / f"intel-rapl:{number}" / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_alone_are_added_up(powercap: Path) -> None:
    counter = open_rapl()
    assert counter is not None
    assert counter.joules() == 0
    for number, value in {"0": 950000, "0:0": 999999, "1": 900001, "2": 999999}.items():
        count(powercap, number, value)
    assert counter.joules() == pytest.approx(0.050001, abs=1e-9)


def test_a_counter_begins_again(powercap: Path) -> None:
    counter = open_rapl()
    assert counter is not None
    count(powercap, "0", 100000)
    assert counter.joules() == pytest.approx(0.2, abs=1e-9)
    count(powercap, "0", 50000)
    assert counter.joules() == pytest.approx(0.2 + 0.95, abs=1e-9)


def test_counters_that_nobody_may_read_are_none(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = open_rapl()
    assert counter is not None
    read = Path.read_text

    def refuse(path: Path) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert counter.joules() is None
    assert open_rapl() is None


def test_a_machine_without_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl, "POWERCAP", tmp_path / "absent")
    assert open_rapl() is None
