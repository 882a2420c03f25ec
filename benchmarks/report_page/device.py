"""The GPU's clocks, power and temperature over the rounds."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from statistics import median

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.report import ComparisonReport
from refinemask.page.tables import table

SENSORS = {
    "sm_mhz": "clock of the multiprocessors, MHz",
    "memory_mhz": "clock of the memory, MHz",
    "watts": "power of the board, W",
    "celsius": "temperature of the chip, °C",
    "p_state": "performance state, 0 is the fastest",
}


def device(report: ComparisonReport) -> str:
    """The ranges over the rounds, and why clocks were lower; empty where the driver tells nothing."""
    states = [each.state for each in report.rounds if each.state is not None]
    rows = [[name, *cells] for sensor, name in SENSORS.items() if (cells := _range(states, sensor))]
    if not rows:
        return ""
    html = table(["at the end of each round", "rounds", "lowest", "median", "highest"], rows)
    return f'<div class="card">{html}<p class="caption">{_reasons(states)}</p></div>'


def _range(states: Sequence[DeviceState], sensor: str) -> list[str]:
    values = [value for state in states if (value := getattr(state, sensor)) is not None]
    if not values:
        return []
    return [f"{len(values):,}", *(f"{value:,.0f}" for value in (min(values), median(values), max(values)))]


def _reasons(states: Sequence[DeviceState]) -> str:
    """What the driver says of lower clocks."""
    known = [state.throttling for state in states if state.throttling is not None]
    if not known:
        return "The driver does not tell why clocks are lower."
    counts = Counter(reason for reasons in known for reason in reasons)
    told = ", ".join(f"{escape(reason)} in {count:,}" for reason, count in counts.most_common())
    of = f"of {len(known):,} rounds"
    return f"Reasons for a lower clock: {told} {of}." if told else f"No reason for a lower clock in any {of}."
