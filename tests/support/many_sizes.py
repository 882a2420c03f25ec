"""Memory of an engine that gets images of many sizes. Run by test_memory.py.

``python -m tests.support.many_sizes FILE BACKEND CALLS …`` prints the process's memory in MiB after each number of
calls of 200 sizes in random order.
"""

import sys
from pathlib import Path

import numpy as np

import engines

SIZES = 200


def resident() -> int:
    """The process's memory in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


def main(path: str, backend: str, *calls: str) -> None:
    random = np.random.default_rng(0)
    sides = range(32, 513, 32)
    sizes = random.permutation([(height, width) for height in sides for width in sides])[:SIZES]
    shown, engine = [int(each) for each in calls], engines.load(path, backend=backend, threads=1)
    for call in range(max(shown)):
        if call % SIZES == 0:
            sizes = random.permutation(sizes)
        height, width = sizes[call % SIZES]
        images = random.integers(0, 256, (1, 3, height, width), dtype=np.uint8)
        engine.infer(images, np.array([[height, width]]))
        if call + 1 in shown:
            print(resident())


if __name__ == "__main__":
    main(*sys.argv[1:])
