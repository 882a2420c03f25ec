"""The revision of the code that made a number."""

import os
import subprocess
from pathlib import Path

REVISION_VARIABLE = "REFINEMASK_REVISION"
"""Environment variable with the commit of a copy of this code that has no history, or an older one."""


def git_revision() -> str | None:
    """The commit of this code: what :data:`REVISION_VARIABLE` says or, in a checkout, what git says.

    Git's has ``-dirty`` behind it where tracked files differ from it. None if neither knows.
    """
    if given := os.environ.get(REVISION_VARIABLE):
        return given
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    root = Path(__file__).parents[1]
    # An installed copy may lie within the repository of another project, whose commit says nothing of this code.
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
