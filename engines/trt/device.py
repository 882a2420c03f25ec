"""The GPU and its driver, as the driver's own library tells: needs no PyTorch, TensorRT or CUDA toolkit."""

import ctypes
import re
from pathlib import Path
from typing import NamedTuple

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""Attributes of ``cuDeviceGetAttribute``."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")


class CudaDevice(NamedTuple):
    """A GPU."""

    name: str
    """Name of the product."""
    capability: str
    """Compute capability, such as ``8.9``."""
    cuda: str
    """Newest CUDA version that the driver serves, such as ``13.0``."""
    driver: str | None
    """Version of the driver itself; None if the system does not tell."""


def cuda_device() -> CudaDevice | None:
    """The first GPU of ``CUDA_VISIBLE_DEVICES``; None on a machine without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetName(name, 256, device):
        return None
    capability = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
        capability.append(str(number.value))
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return CudaDevice(name.value.decode(), ".".join(capability), version, _driver_version())


def _driver_version() -> str | None:
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", DRIVER_FILE.read_text())
    except OSError:
        return None
    return found[0] if found else None
