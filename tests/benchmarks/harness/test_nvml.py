"""A GPU by NVIDIA's library: every field, and None for whatever is missing."""

from typing import Any

import pytest

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.nvml import open_gpu
from tests.support.fake_nvml import UUID, FakeNvml, install

ANSWERS: dict[str, Any] = {
    "nvmlDeviceGetClockInfo": {"sm": 1410, "memory": 2619},
    "nvmlDeviceGetPowerUsage": 345678,
    "nvmlDeviceGetTemperature": {"chip": 61},
    "nvmlDeviceGetPerformanceState": 0,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x1 | 0x4 | 0x40,
    "nvmlDeviceGetTotalEnergyConsumption": 7_250_500,
    "nvmlSystemGetDriverVersion": "580.65.06",
    "nvmlDeviceGetMigMode": [0, 0],
}


def test_every_field_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    install(FakeNvml(ANSWERS), monkeypatch)
    gpu = open_gpu("cuda")
    assert gpu is not None
    assert gpu.state() == DeviceState(
        sm_mhz=1410,
        memory_mhz=2619,
        watts=345.678,
        celsius=61,
        p_state=0,
        throttling=("software power cap", "hardware thermal slowdown"),
    )
    assert gpu.joules() == 7250.5
    assert gpu.driver_version() == "580.65.06"


def test_what_is_not_supported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(FakeNvml({}), monkeypatch)
    gpu = open_gpu("cuda:1")
    assert gpu is not None
    assert (gpu.state(), gpu.joules(), gpu.driver_version()) == (DeviceState(), None, None)


@pytest.mark.parametrize(
    "nvml", [None, FakeNvml(ANSWERS, driver=False), FakeNvml(ANSWERS, handles=())], ids=["package", "driver", "GPU"]
)
def test_what_is_missing_is_no_error(nvml: FakeNvml | None, monkeypatch: pytest.MonkeyPatch) -> None:
    install(nvml, monkeypatch)
    assert open_gpu("cuda") is None


@pytest.mark.parametrize(
    ("handles", "answers"),
    [
        ([f"GPU-{UUID}"], {"nvmlDeviceGetMigMode": [1, 1]}),
        ([f"MIG-{UUID}"], {"nvmlDeviceGetDeviceHandleFromMigDeviceHandle": "whole"}),
    ],
    ids=["whole", "part"],
)
def test_a_part_of_a_gpu_is_not_charged_with_the_whole(
    handles: list[str], answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(FakeNvml(ANSWERS | answers, handles), monkeypatch)
    gpu = open_gpu("cuda")
    assert gpu is not None
    assert gpu.joules() is None
    assert (gpu.state().watts, gpu.state().sm_mhz) == (None, 1410)
