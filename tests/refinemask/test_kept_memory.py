"""Memory that is freed again and again is asked of the kernel once."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from refinemask.kept_memory import keep_freed_memory

def use():
    # Less than the size from which NumPy asks for huge pages.
    blocks = [np.ones(3 << 20, np.uint8) for _ in range(10)]

if sys.argv[1] == "keep":
    keep_freed_memory()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the kernel made while 30 MiB were used and freed five times."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
    }
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep what they want")
def test_freed_blocks_are_used_again() -> None:
    returned, kept = faults("return"), faults("keep")
    assert kept < returned / 10
