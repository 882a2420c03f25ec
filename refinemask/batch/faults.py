"""Whether a failure is an image's own, or one that a fresh process may not have. Imports no PyTorch."""

from collections.abc import Iterator

import cv2

from refinemask.contract import InputError
from refinemask.files import UserError


def is_of_process(error: UserError, *, was_read: bool) -> bool:
    """Whether the process in which an image failed may be at fault, and not the image.

    A decoder that finds no memory may have found it taken by the neighbours of the image. A runtime that fails, such as
    that of a GPU after a fault, may fail on every image from then on. What is wrong with an image's data, its size or
    what the network computes of it, any process finds again.

    Args:
        error: why the image failed.
        was_read: whether it had been decoded by then.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, MemoryError) for cause in causes):
        return True
    if any(isinstance(cause, cv2.error) and cause.code == cv2.Error.StsNoMem for cause in causes):
        return True
    # A ValueError says that values break a rule, such as not to be infinite.
    fits = not any(isinstance(each, InputError | ValueError) for each in (error, *causes))
    return was_read and bool(causes) and fits


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
