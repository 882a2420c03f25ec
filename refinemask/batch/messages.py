"""What a worker process tells the process that started it. Imports no PyTorch."""

from typing import NamedTuple

from refinemask.batch.row import Row


class Ready(NamedTuple):
    """The model is open."""

    engine: str
    """The engine and its precision, such as ``ONNX Runtime fp32``."""


class Refused(NamedTuple):
    """The model cannot be opened as it was asked for; the process ends."""

    reason: str
    """One line for the person at the command line."""


class Begun(NamedTuple):
    """The next image, in the order of the references, is on its way: from now on it may end the process."""


class Done(NamedTuple):
    """What became of the next image, in the order of the references."""

    row: Row


class Finished(NamedTuple):
    """Every image of the references that were sent is done."""


Message = Ready | Refused | Begun | Done | Finished
