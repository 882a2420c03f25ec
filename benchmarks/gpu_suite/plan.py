"""What the GPU suite is asked to do."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refinemask.files import UserError
from refinemask.provenance import REVISION_VARIABLE

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where, on what and how long the suite runs."""

    output: Path
    """Directory of gpu_suite.json."""
    device: Device = "cuda"
    tiny: bool = False
    """Whether sizes are so small that a CPU walks every part in two minutes; such figures mean nothing."""
    minutes: float = 8
    """Minutes that the suite may take; what does not fit is left out and listed."""
    parts: tuple[str, ...] = ()
    """Names of the parts to run; all if empty."""

    def __post_init__(self) -> None:
        if self.minutes < 0:
            raise UserError(f"--minutes is {self.minutes:g}; expected 0 at least")


def parse_plan(names: Sequence[str], words: Sequence[str] | None = None) -> Plan:
    """Read the command line by argparse: a bare machine has none of the other commands' parser.

    Args:
        names: names of all parts.
        words: words of the command line; None is the process's own.

    Raises:
        UserError: a value is none that the option takes.
        SystemExit: the words are no command line of this command, or ask for help.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_suite", allow_abbrev=False, description="Answer every goal that needs a GPU."
    )
    parser.add_argument("-o", "--output", type=Path, help="directory of gpu_suite.json", metavar="DIR")
    parser.add_argument("--out", type=Path, dest="output", help=argparse.SUPPRESS, default=argparse.SUPPRESS)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu walks the parts only")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU can walk; their figures mean nothing")
    parser.add_argument("--minutes", type=float, default=8, help="minutes that the suite may take (default: 8)")
    parser.add_argument("--part", nargs="+", choices=names, default=(), metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--revision", help="commit of this code where git does not know it")
    options = parser.parse_args(words)
    if options.output is None:
        parser.error("the following arguments are required: -o/--output")
    if options.revision:
        # Read by this process and by those that it starts.
        os.environ[REVISION_VARIABLE] = options.revision
    return Plan(
        output=options.output,
        device=options.device,
        tiny=options.tiny,
        minutes=options.minutes,
        parts=tuple(options.part),
    )
