"""Checks of options that are numbers, and of the files that a command writes."""

import os
from collections.abc import Mapping
from itertools import combinations

from refinemask.data.images import IMAGE_SUFFIXES
from refinemask.files import UserError, require_not_input

OptionalFile = str | os.PathLike[str] | None


def require_at_least(least: int, **counts: int | None) -> None:
    """Raise a UserError that names the option unless each number that is given is at least so large."""
    for name, count in counts.items():
        if count is not None and count < least:
            raise UserError(f"--{name.replace('_', '-')} is {count}; expected at least {least}")


def require_page_name(option: str, page: OptionalFile) -> None:
    """Raise a UserError unless a page of HTML, if there is one, has a name by which browsers know it."""
    if page is not None and os.path.splitext(page)[1].lower() not in (".html", ".htm"):
        raise UserError(f"{option} {page}: is a page of HTML; expected a name that ends in .html")


def require_own_files(outputs: Mapping[str, OptionalFile], *inputs: OptionalFile) -> None:
    """Raise a UserError unless each output is a regular file or none yet, no image, no input, and no other output.

    Args:
        outputs: by option, such as ``--results``, the files that a command writes; None is passed over.
        inputs: what the command reads; None is passed over.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    for option, path in given.items():
        require_not_input(path, *inputs)
        if os.path.splitext(os.path.realpath(path))[1].lower() in IMAGE_SUFFIXES and os.path.exists(path):
            raise UserError(f"{option} {path}: is an image and would be overwritten; name another file")
    for (first, path), (second, other) in combinations(given.items(), 2):
        if os.path.realpath(path) == os.path.realpath(other):
            raise UserError(f"{first} and {second} are both {path}; name two files")
