"""Where benchmarks print their tables."""

import sys

from rich.console import Console


def terminal() -> Console:
    """Standard output; without a terminal wide enough that no table breaks."""
    return Console(width=None if sys.stdout.isatty() else 200)
