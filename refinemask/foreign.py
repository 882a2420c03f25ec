"""What other libraries say, in one line of ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from refinemask.files import UserError

LONGEST = 320
"""Characters of a foreign text that an error repeats."""


def one_line(text: object, longest: int = LONGEST) -> str:
    """The first line of a text that says something, without control characters, cut where it is too long to read."""
    lines = (re.sub(r"[^\S ]|[^\x20-\x7e\xa1-\ud7ff\uf900-\U0010ffff]", " ", line) for line in str(text).splitlines())
    line = next((stripped for line in lines if (stripped := " ".join(line.split()))), "no reason given")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def reason(error: BaseException) -> str:
    """Why a library failed: its message in one line, or else the name of the exception."""
    text = str(error).strip() or type(error).__name__
    # OpenVINO begins with places in its source, and says the cause last.
    return one_line(text.splitlines()[-1] if text.startswith(("Exception from ", "Check '")) else text)


@contextmanager
def foreign_errors(what: str, remedy: str = "") -> Iterator[None]:
    """Make a UserError of whatever a foreign library raises within the block: ``what: its reason; remedy``.

    It is for the calls of libraries whose exceptions share no class of their own, and for nothing else.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {reason(error)}{'; ' if remedy else ''}{remedy}") from error
