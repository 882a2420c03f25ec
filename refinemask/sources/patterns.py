"""Files by a pattern such as ``photos/**/*.jpg``. Imports no PyTorch."""

from pathlib import Path

from refinemask.files import UserError

SIGNS = "*?["
"""What makes a name a pattern."""


def matches(pattern: str) -> tuple[Path, list[Path]]:
    """The files that a pattern matches, by name, as a shell has it.

    ``*`` is anything within a name, ``?`` one character, ``[ab]`` one of some, and ``**`` any number of folders, but
    for those behind links. What begins with a dot is matched where the pattern has the dot as well. Folders are not
    matched.

    Returns:
        The folder that the pattern's first part without such signs names, and the files.

    Raises:
        UserError: nothing matches, or it is no pattern.
    """
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if any(sign in part for sign in SIGNS))
    folder, rest = Path(*parts[:first]), list(parts[first:])
    # Alone at the end it would match folders only, before Python 3.13.
    rest += ["*"] if rest[-1] == "**" else []
    hidden = any(part.startswith(".") for part in rest)
    try:
        found = sorted({path for path in folder.glob("/".join(rest)) if path.is_file()})
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{pattern}: is no pattern of files: {error}") from error
    if not hidden:
        found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not found:
        raise UserError(f"{pattern}: no file matches")
    return folder, found
