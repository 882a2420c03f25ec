"""How engines are measured."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from refinemask.contract import STRIDE
from refinemask.data.segmentation import MOST_PIXELS
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.spelling import Old, OptionalNumber, Size

OLD = {"--canvas": Old("--size", numbers=2)}
"""Old spellings of the settings on a command line."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure engines side by side."""

    threads: int = 2
    """CPU threads of every engine."""
    device: str = "cpu"
    """Device, cpu or cuda."""
    batch: int = 1
    """Images per batch."""
    rounds: OptionalNumber = None
    """Batches to run on every engine, over and over in the same order; none is every batch once."""
    warmup: int = 3
    """Rounds before those that count."""
    canvas: Annotated[Size | None, tyro.conf.arg(name="size", metavar="HxW")] = None
    """Padded height and width of every input; none is what each batch needs."""
    seed: int = 0
    """Seed of the order in which engines take turns."""
    trust_engine: bool = False
    """Whether to load TensorRT engines without a sidecar, too: an engine can run any code."""

    def __post_init__(self) -> None:
        require_at_least(1, threads=self.threads, batch=self.batch, rounds=self.rounds)
        require_at_least(0, warmup=self.warmup)
        if self.canvas is not None:
            require_padded("--size is", self.canvas)


def require_padded(found: str, size: tuple[int, int]) -> None:
    """Raise a UserError unless a network's input can have this padded (height, width).

    Args:
        found: what the error says before the size, such as ``--size is``.
        size: the size in pixels.
    """
    height, width = size
    if min(size) < STRIDE or height % STRIDE or width % STRIDE or height * width > MOST_PIXELS:
        expected = f"expected multiples of {STRIDE}, such as 800x1344, and at most {MOST_PIXELS} pixels"
        raise UserError(f"{found} {height}x{width}; {expected}")
