"""The revision of the code that made a number."""

import subprocess
from pathlib import Path


def git_revision() -> str | None:
    """The commit of this code, with ``-dirty`` where tracked files differ from it; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
