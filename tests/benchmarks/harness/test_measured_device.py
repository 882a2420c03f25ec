"""Energy of an engine that takes turns, and what the table says of a GPU."""

from benchmarks.harness.device_state import DeviceState, describe, disturbance
from benchmarks.harness.measured_device import attributed


def test_long_turns_are_added_up() -> None:
    assert attributed([50.0, 70.0, 60.0], [0.6, 0.8, 0.7], update=0.1, alone=False) == 180


def test_short_turns_are_charged_to_one_engine_alone() -> None:
    joules, seconds = [0.0, 10.0] * 50, [0.03] * 100
    assert attributed(joules, seconds, update=0.1, alone=True) == 500
    assert attributed(joules, seconds, update=0.1, alone=False) is None


def test_what_the_counter_is_too_coarse_for_is_none() -> None:
    assert attributed([30.0, 30.0], [0.6, 0.6], update=0.1, alone=True) is None
    assert attributed([30.0, None, 30.0], [1.0, 1.0, 1.0], update=0.1, alone=True) is None
    assert attributed([], [], update=0.1, alone=True) is None
    assert attributed([0.0] * 3, [1.0] * 3, update=0.1, alone=True) is None


def test_a_gpu_in_one_line() -> None:
    states = [
        DeviceState(sm_mhz=1980, watts=300.4, celsius=60, throttling=()),
        DeviceState(sm_mhz=1755, watts=650.2, celsius=60, throttling=("software power cap",)),
    ]
    assert describe(states) == "GPU: 1755–1980 MHz SM, 300–650 W, 60 °C"
    assert disturbance(states) == (
        "was throttled (software power cap in 1 of 2 rounds) and changed its clock between 1755 and 1980 MHz"
    )


def test_a_steady_gpu_and_an_unknown_one_disturb_nothing() -> None:
    assert disturbance([DeviceState(sm_mhz=1980, throttling=()), DeviceState(sm_mhz=1800)]) is None
    assert describe([DeviceState(), DeviceState(throttling=())]) is None
    assert (describe([]), disturbance([])) == (None, None)
