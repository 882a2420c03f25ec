"""The core of OpenVINO, and running its requests."""

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np


def run_request(request: Any, inputs: dict[str, np.ndarray]) -> None:
    """Compute a request of OpenVINO, and raise what a node of it raises.

    OpenVINO's own ``infer`` swallows that, and leaves the failed run in a queue that later models share: it runs again
    before theirs, although its own model may be gone by then.
    """
    request.start_async(inputs, share_inputs=True)
    request.wait()


def openvino_core() -> Any:
    """The one core of OpenVINO in this process, which lasts as long as the process.

    A core gives its thread a stack for signals, and takes it away when it goes. Of two cores the second to come
    remembers the first one's stack and brings it back when it goes, although it is gone if the first one went before:
    the next signal (Ctrl-C, a child process that ends) then crashes the interpreter, or overwrites other memory.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return _core_of(openvino)


@cache
def _core_of(openvino: ModuleType) -> Any:
    return openvino.Core()


def capabilities() -> list[str]:
    """The types that OpenVINO says this CPU is good at, such as ``FP32``, ``BF16`` and ``INT8``.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    found: list[str] = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found
