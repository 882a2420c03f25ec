"""The most memory that this process has had at one time."""

import sys


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, in MiB."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    # psutil knows the peak on Windows alone.
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
