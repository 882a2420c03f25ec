"""A part of the GPU suite."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.gpu_suite.context import Context, Report


def nothing(context: Context) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A measurement or check that stands alone: what breaks it breaks no other."""

    name: str
    """Name on the command line. With underscores it is the field of the suite's report, too."""
    run: Callable[[Context], Report]
    """Function that does the work. What it keeps on the way (:meth:`Context.keep`) is written at once; so is what it
    returns. It raises ``NotRunError`` or ``UserError`` for what is impossible here, and ``FailedCheckError`` for
    results that are wrong."""
    report: type
    """Type of its report."""
    seconds: float
    """Least time that must be left."""
    prepare: Callable[[Context], None] = nothing
    """Function that begins, by :meth:`Context.begin`, what must be built before ``run``."""
    timed: bool = True
    """Whether anything is timed, so that no job may run beside it."""
    by_default: bool = True
    """Whether it runs unless others are named."""

    @property
    def field(self) -> str:
        """Field of the suite's report."""
        return self.name.replace("-", "_")
