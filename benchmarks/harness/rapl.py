"""The energy of a CPU's packages, as Linux reads it from RAPL's counters."""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Rapl:
    """All packages of a machine: whatever runs on them is counted, this process or not.

    Args:
        packages: directory of each package's counter.

    Raises:
        OSError: a counter cannot be read; many systems let root alone.
        ValueError: a counter holds no number.
    """

    update_seconds = 0.001

    def __init__(self, packages: list[Path]) -> None:
        self._range = {package: _number(package / "max_energy_range_uj") for package in packages}
        self._last = {package: _number(package / "energy_uj") for package in packages}
        self._used = 0

    def state(self) -> None:
        """Nothing but energy is told of a CPU."""

    def joules(self) -> float | None:
        """Energy since this object was made. A counter that has begun again once since the last call is known by it."""
        try:
            now = {package: _number(package / "energy_uj") for package in self._last}
        except (OSError, ValueError):
            return None
        for package, value in now.items():
            used = value - self._last[package]
            self._used += used if used >= 0 else used + self._range[package]
        self._last = now
        return self._used / 1e6


def open_rapl() -> Rapl | None:
    """The CPU's packages; None where the system does not have or show their counters."""
    try:
        # Cores and memory are parts of a package, which have a second colon; `psys` is the board.
        domains = sorted(path for path in POWERCAP.glob("intel-rapl:*") if path.name.count(":") == 1)
        packages = [path for path in domains if (path / "name").read_text().startswith("package")]
        return Rapl(packages) if packages else None
    except (OSError, ValueError):
        return None


def _number(path: Path) -> int:
    return int(path.read_text())
