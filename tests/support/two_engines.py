"""Load two engines into one interpreter, use them, and let them go. Run by test_two_engines.py.

``python -m tests.support.two_engines CHECKPOINT ONNX FIRST SECOND``, where FIRST and SECOND are backends. A signal that
Python handles is raised after each step: a library that spoils the interpreter's stack for signals is found out.
"""

import gc
import signal
import sys

import numpy as np

import engines
from engines import Engine
from refinemask.structures import Detections

handled = 0


def handle(number: int, frame: object) -> None:
    global handled
    handled += 1


def step() -> None:
    gc.collect()
    before = handled
    signal.raise_signal(signal.SIGUSR1)
    assert handled == before + 1


def main(checkpoint: str, onnx: str, *backends: str) -> None:
    signal.signal(signal.SIGUSR1, handle)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), dtype=np.uint8)
    loaded: list[Engine] = []
    expected: list[Detections] = []
    for backend in backends:
        path = checkpoint if backend == "pytorch" else onnx
        # Two threads, so that each library starts its own.
        loaded.append(engines.load(path, backend=backend, threads=2))
        expected.append(loaded[-1].infer(images, [[64, 96]]))
        step()
    for engine, before in zip(loaded, expected, strict=True):
        for ours, theirs in zip(engine.infer(images, [[64, 96]]), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        step()
    del engine
    # In the order in which they came.
    while loaded:
        del loaded[0]
        step()
    import torch  # Here, so that two engines that do without it have had the process for themselves.

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.nn.functional.conv2d(torch.rand(1, 3, 64, 96), torch.rand(8, 3, 3, 3))
        step()
    step()
    assert "convolution" in profiler.key_averages().table()
    step()
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
