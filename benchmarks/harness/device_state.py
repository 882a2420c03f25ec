"""What a GPU's driver says of it while engines are measured, and whether that spoils the latencies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.harness.report_file import ABSENT_IF_NONE

THROTTLING = {
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x200: "board limit",
    0x400: "reliability",
}
"""Names of NVML's reasons for a lower clock, by their bits. An idle GPU, or clocks that somebody has set, are none."""
STEADY_CLOCK = 0.1
"""Share of the highest clock by which the others may be lower."""


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """A GPU at one moment; what its driver does not tell is None."""

    sm_mhz: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Clock of the multiprocessors in MHz."""
    memory_mhz: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Clock of the memory in MHz."""
    watts: float | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Power of the whole board; the driver averages it over up to a second."""
    celsius: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Temperature of the chip."""
    p_state: int | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Performance state, 0 (fastest) to 15."""
    throttling: tuple[str, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Reasons for a lower clock, of :data:`THROTTLING`; empty if there is none."""


def describe(states: Sequence[DeviceState]) -> str | None:
    """The ranges of clocks, power and temperature over the rounds, in one line; None if the driver told nothing."""
    units = {"sm_mhz": "MHz SM", "memory_mhz": "MHz memory", "watts": "W", "celsius": "°C", "p_state": "P-state"}
    parts = []
    for name, unit in units.items():
        values = [value for state in states if (value := getattr(state, name)) is not None]
        if values:
            low, high = f"{min(values):.0f}", f"{max(values):.0f}"
            parts.append(f"{low if low == high else f'{low}–{high}'} {unit}")
    return f"GPU: {', '.join(parts)}" if parts else None


def disturbance(states: Sequence[DeviceState]) -> str | None:
    """What has slowed the GPU down during the rounds, in a few words; None if nothing is known to have."""
    counts = Counter(reason for state in states for reason in state.throttling or ())
    found = [f"was throttled ({reason} in {count} of {len(states)} rounds)" for reason, count in counts.most_common()]
    clocks = [state.sm_mhz for state in states if state.sm_mhz is not None]
    if clocks and min(clocks) < (1 - STEADY_CLOCK) * max(clocks):
        found.append(f"changed its clock between {min(clocks)} and {max(clocks)} MHz")
    return " and ".join(found) or None
