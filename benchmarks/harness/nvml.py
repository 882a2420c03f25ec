"""A GPU by NVIDIA's management library: clocks, power, temperature, throttling and energy.

Whatever is missing, from the Python package to a counter, is None: it is no reason not to measure.
"""

from importlib import import_module
from typing import Any

from benchmarks.harness.device_state import THROTTLING, DeviceState


class Gpu:
    """One GPU, or the part of one that MIG gives.

    Args:
        nvml: the module ``pynvml``, initialised.
        handle: the whole GPU's handle.
        shared: whether it is divided by MIG: power and energy are then those of all its parts, and so not told.
    """

    update_seconds = 0.1
    """The energy's counter is updated every 20 to 100 ms, depending on the GPU."""

    def __init__(self, nvml: Any, handle: Any, shared: bool) -> None:
        self._nvml, self._handle, self._shared = nvml, handle, shared

    def state(self) -> DeviceState:
        """Clocks, power, temperature and throttling now."""
        milliwatts = None if self._shared else self._ask("nvmlDeviceGetPowerUsage")
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        return DeviceState(
            sm_mhz=self._ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            memory_mhz=self._ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM"),
            watts=None if milliwatts is None else milliwatts / 1000,
            celsius=self._ask("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
            p_state=self._ask("nvmlDeviceGetPerformanceState"),
            throttling=None if reasons is None else tuple(name for bit, name in THROTTLING.items() if reasons & bit),
        )

    def joules(self) -> float | None:
        """Energy of the board since the driver was loaded; GPUs before Volta count none."""
        millijoules = None if self._shared else self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def driver_version(self) -> str | None:
        """Version of the driver, such as ``580.65.06``."""
        return _told(self._nvml, "nvmlSystemGetDriverVersion")

    def _ask(self, function: str, *constants: str) -> Any:
        return _told(self._nvml, function, self._handle, *(getattr(self._nvml, name) for name in constants))


def open_gpu(device: str) -> Gpu | None:
    """A GPU; None without the package nvidia-ml-py, PyTorch, a driver or that GPU.

    Args:
        device: ``cuda`` or ``cuda:N``, as PyTorch counts. The GPU is found by its UUID, because
            ``CUDA_VISIBLE_DEVICES`` gives other numbers than the driver's.
    """
    try:
        torch, nvml = import_module("torch"), import_module("pynvml")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    whole, part = (_told(nvml, "nvmlDeviceGetHandleByUUID", f"{kind}-{uuid}") for kind in ("GPU", "MIG"))
    if part is not None:
        whole = _told(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", part)
    if whole is None:
        return None
    current, *_ = _told(nvml, "nvmlDeviceGetMigMode", whole) or [0]
    return Gpu(nvml, whole, shared=part is not None or bool(current))


def _told(nvml: Any, function: str, *arguments: Any) -> Any:
    """What the library answers; None where it, its driver or the GPU does not know the question."""
    try:
        return getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None
