"""Images made in memory as items of a source, with anything that may happen while they are read."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from refinemask.config import Window
from refinemask.files import UserError


def nothing() -> None:
    """The usual course of things."""


@dataclass(frozen=True)
class MadeItem:
    """A grey image of one brightness."""

    brightness: int
    height: int = 20
    width: int = 30
    delay: float = 0.0
    """How long reading takes."""
    bad: bool = False
    """Whether it cannot be read."""
    happens: Callable[[], None] = nothing
    """What happens when it is read."""
    path = video = index = seconds = None

    @property
    def name(self) -> str:
        return f"made {self.brightness}"

    @property
    def place(self) -> PurePosixPath:
        return PurePosixPath(str(self.brightness))

    def read(self, window: Window | None) -> np.ndarray:
        time.sleep(self.delay)
        self.happens()
        if self.bad:
            raise UserError(f"{self.name}: is bad")
        return np.full((self.height, self.width, 3), self.brightness, np.uint8)
