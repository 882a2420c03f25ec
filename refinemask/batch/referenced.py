"""An image that a path or a URL names. Imports no PyTorch."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from refinemask.batch.storage import read_bytes, shown
from refinemask.config import Window
from refinemask.data.images import decode_image


@dataclass(frozen=True)
class ReferencedImage:
    """An image of a job; see :class:`refinemask.sources.item.Item`."""

    reference: str
    path = video = index = seconds = None

    @property
    def name(self) -> str:
        return self.reference

    @property
    def place(self) -> PurePosixPath:
        return PurePosixPath(self.reference)

    def read(self, window: Window | None) -> NDArray[np.uint8]:
        return decode_image(shown(self.reference), read_bytes(self.reference), window)
