"""What is said of quantised layers that this CPU cannot compute in 8 bits."""

import os
import sys
from collections.abc import Collection


def say_what_overflows(names: Collection[str], total: int, path: str | os.PathLike[str]) -> None:
    """Say on standard error how many layers of a file are kept from 8 bits by their sums; nothing if none is.

    Args:
        names: those layers.
        total: number of the file's quantised layers.
        path: the file.
    """
    if names:
        print(
            f"remark: {path}: {len(names)} of {total} quantised layers are computed in floating point, because this "
            "CPU has no VNNI and their sums would overflow in 8 bits; the numbers are those of the file",
            file=sys.stderr,
        )
