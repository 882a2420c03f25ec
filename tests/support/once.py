"""What several processes of one test run need, and one of them makes."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def once(directory: Path, make: Callable[[Path], None]) -> Path:
    """The directory that ``make`` fills; the first process that asks for it calls ``make``, the others wait."""
    with FileLock(directory.with_name(f"{directory.name}.lock")):
        if not directory.is_dir():
            unfinished = directory.with_name(f"{directory.name}.unfinished")
            unfinished.mkdir(exist_ok=True)
            make(unfinished)
            unfinished.rename(directory)
    return directory
