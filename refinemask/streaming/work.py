"""One image on its way through a pipeline. Imports no PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from refinemask.config import STRIDE
from refinemask.contract import InputError
from refinemask.data.transforms import resize_shape
from refinemask.files import UserError
from refinemask.joining import join
from refinemask.prediction import Prediction, Predictor, to_predictions
from refinemask.sources.item import Item
from refinemask.structures import ImageDetections
from refinemask.tiling import Tile, Tiling

T = TypeVar("T")
Render = Callable[[Item, Prediction, NDArray[np.uint8]], T]
"""Makes something of an image, what was found in it and its pixels [h, w, 3] uint8 RGB, in any thread."""


@dataclass(frozen=True, kw_only=True)
class Result(Generic[T]):
    """What became of one image."""

    item: Item
    """The image."""
    prediction: Prediction | None = None
    """What was found in it; None if it failed."""
    rendered: T | None = None
    """What was made of it; None if it failed, or if nothing was asked for."""
    error: UserError | None = None
    """Why it failed."""
    was_read: bool = True
    """Whether the image could be read; otherwise ``error`` is about the image alone."""


class Canvas(NamedTuple):
    """The padded size of a batch: only images of the same one go together."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    fixed: bool
    """Whether the predictor asked for it; otherwise the images need it."""


class Part(NamedTuple, Generic[T]):
    """What goes through the network at once: an image, or a tile of one."""

    work: "Work[T]"
    place: int
    """Position among the parts of the image."""
    pixels: NDArray[np.uint8]
    """[h, w, 3] RGB, part of the image's."""
    canvas: Canvas


class Work(Generic[T]):
    """An image, its parts, and what was found in them until now."""

    def __init__(self, index: int, item: Item) -> None:
        """``index`` is the image's position in the source."""
        self.index, self.item = index, item
        self.outcome: SimpleQueue[Result[T] | BaseException] = SimpleQueue()
        """Takes the result, or the error that ends the pass, once."""
        self.bytes = 0
        """Size of the decoded image."""
        self.was_read = False
        """Whether the image was decoded; what fails later is not about the image alone."""
        self._tiles: list[Tile] | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._found: dict[int, ImageDetections] = {}
        self._parts = 0
        self._is_claimed = False
        self._lock = Lock()

    def read(self, predictor: Predictor, tiling: Tiling | None) -> list[Part[T]]:
        """Decode the image, and divide it.

        Raises:
            UserError: it cannot be read, or does not fit the predictor.
        """
        pixels = self.item.read(predictor.config.preprocessing.window)
        self.was_read = True
        height, width = pixels.shape[:2]
        if tiling is not None and not tiling.fits(height, width):
            self._tiles = tiling.tiles(height, width)
        views = [pixels] if self._tiles is None else [tile.of(pixels) for tile in self._tiles]
        try:
            # Tiles of an image have one size.
            canvas = canvas_of(predictor, views[0].shape[:2])
        except InputError as error:
            raise InputError(f"{self.item.name}: {error}") from error
        self._pixels, self._parts, self.bytes = pixels, len(views), pixels.nbytes
        return [Part(self, place, view, canvas) for place, view in enumerate(views)]

    def add(self, place: int, found: ImageDetections) -> bool:
        """Keep what was found in a part; True if it was the last one."""
        with self._lock:
            self._found[place] = found
            return len(self._found) == self._parts

    def finish(self, predictor: Predictor, render: Render[T] | None) -> Result[T]:
        """The result, when every part was added."""
        assert self._pixels is not None
        found, shape = [self._found[place] for place in range(self._parts)], self._pixels.shape[:2]
        whole = found[0] if self._tiles is None else join(found, self._tiles, *shape)
        [prediction] = to_predictions([whole], [shape], predictor.config, [self.item.path])
        rendered = None if render is None else render(self.item, prediction, self._pixels)
        return Result(item=self.item, prediction=prediction, rendered=rendered)

    @property
    def is_done(self) -> bool:
        """Whether somebody sets the result, or has set it."""
        return self._is_claimed

    def claim(self) -> bool:
        """Whether the caller is the one to set the result; the pixels go."""
        with self._lock:
            first, self._is_claimed = not self._is_claimed, True
        if first:
            self._pixels, self._found = None, {}
        return first


def canvas_of(predictor: Predictor, shape: tuple[int, int]) -> Canvas:
    """The padded size for one image of (height, width) ``shape``.

    Raises:
        InputError: the image is larger than the predictor takes.
    """
    size = predictor.canvas([shape])
    if size is not None:
        return Canvas(size, fixed=True)
    height, width = resize_shape(*shape, predictor.config.preprocessing)
    return Canvas((-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE), fixed=False)
