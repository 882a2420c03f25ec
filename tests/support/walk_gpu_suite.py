"""Walk every part of the GPU suite on the CPU: ``python -m tests.support.walk_gpu_suite DIR LIBRARY``."""

import sys
from pathlib import Path

from benchmarks.gpu_suite.parts import PARTS
from benchmarks.gpu_suite.plan import Plan
from benchmarks.gpu_suite.suite import run_suite
from benchmarks.gpu_suite.tables import print_suite

if __name__ == "__main__":
    output, library = map(Path, sys.argv[1:])
    print_suite(run_suite(Plan(output=output, device="cpu", tiny=True), PARTS, library))
