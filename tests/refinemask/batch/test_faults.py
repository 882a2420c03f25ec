"""Which failures may be the process's, and which are the image's own."""

import cv2
import pytest

from refinemask.batch.faults import is_of_process
from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.outputs import OutputError


def caused(error: UserError, *causes: BaseException) -> UserError:
    """An error with a chain of causes."""
    chain: list[BaseException] = [error, *causes]
    for each, cause in zip(chain, causes, strict=False):
        each.__cause__ = cause
    return error


def no_memory() -> BaseException:
    """What OpenCV raises where it finds no memory, asked for more than there is on any machine."""
    error = cv2.error("failed to allocate")
    error.code = cv2.Error.StsNoMem  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "was_read", "expected"),
    [
        (UserError("cannot be read"), False, False),
        (caused(UserError("cannot be read"), FileNotFoundError()), False, False),
        (caused(UserError("cannot be decoded"), MemoryError()), False, True),
        (caused(UserError("cannot be decoded"), no_memory()), False, True),
        (caused(UserError("cannot be decoded"), cv2.error("damaged")), False, False),
        (InputError("too large"), True, False),
        (caused(UserError("fails on these images"), RuntimeError("device lost")), True, True),
        (caused(UserError("a"), UserError("b"), RuntimeError("device lost")), True, True),
        (caused(UserError("not finite"), ValueError("not finite")), True, False),
        (caused(OutputError("not finite"), ValueError("not finite")), True, False),
    ],
)
def test_fault(error: UserError, was_read: bool, expected: bool) -> None:
    assert is_of_process(error, was_read=was_read) is expected
