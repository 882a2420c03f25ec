"""The revision of the code that made a number."""

import os
import subprocess
from pathlib import Path

REVISION_VARIABLE = "REFINEMASK_REVISION"
"""Environment variable with the commit of a copy of this code that is no git checkout."""


def git_revision() -> str | None:
    """The commit of this code, with ``-dirty`` where tracked files differ from it.

    Outside a repository it is what :data:`REVISION_VARIABLE` says, and None where that is not set either.
    """
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    root, given = Path(__file__).parents[1], os.environ.get(REVISION_VARIABLE) or None
    # An installed copy may lie within the repository of another project, whose commit says nothing of this code.
    if not (root / ".git").exists():
        return given
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return given
