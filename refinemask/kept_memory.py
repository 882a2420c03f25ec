"""Memory that is freed and soon needed again, kept by the process. Imports no PyTorch."""

import numpy as np

_LARGEST_THRESHOLD = 32 << 20
"""Bytes of the largest block by which glibc sets its thresholds, on 64 bits."""


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of less than 32 MiB for the next ones, instead of returning each to the kernel.

    An image passes through several blocks of megabytes. New ones from the kernel are made zero page by page, which
    takes as long as decoding, and threads of one process wait there for each other. Up to 64 MiB stay at the end of
    each of glibc's arenas, of which threads have up to eight for each core. Other C libraries do what they always do.
    """
    # As its manual says (mallopt), it raises its thresholds to a block that is freed, unless the environment sets them.
    np.empty(_LARGEST_THRESHOLD - (1 << 16), np.uint8)
