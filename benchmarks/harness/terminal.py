"""Where benchmarks print their tables."""

import sys

from rich.console import Console


def terminal() -> Console:
    """Standard output; without a terminal wide enough that no table breaks. Names are printed as they are."""
    return Console(width=None if sys.stdout.isatty() else 200, markup=False, emoji=False)
