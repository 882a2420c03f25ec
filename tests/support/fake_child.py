"""The child process of an engine's build or check, on stand-ins for TensorRT and the GPU.

``python -m tests.support.fake_child … WORDS`` answers as ``engines.trt.child`` does. Where the variable ``CRASHES`` is
set, the engine ends its process at two images that are larger than 32 px.
"""

import os
import signal
import sys

import numpy as np
import pytest

from engines.trt import child, runtime
from engines.trt.device import CudaDevice
from tests.support import fake_tensorrt


def crash(outputs: dict[str, np.ndarray]) -> None:
    """What an illegal instruction does."""
    if len(outputs["boxes"]) == 2 and outputs["boxes"].max() > 32:
        os.kill(os.getpid(), signal.SIGILL)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "cuda_device", lambda: CudaDevice("NVIDIA L4", "8.9", "13.0", "580.65"))
        fake_tensorrt.install(patch)
        if "CRASHES" in os.environ:
            patch.setattr(fake_tensorrt.FakeEngine, "distort", staticmethod(crash))
        sys.argv = [sys.argv[0], sys.argv[-1]]
        raise SystemExit(child.main())
