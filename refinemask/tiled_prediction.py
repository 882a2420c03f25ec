"""Images of any number and size: predicted batch by batch, and large ones tile by tile. Imports no PyTorch."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refinemask.contract import InputError
from refinemask.files import UserError
from refinemask.joining import join
from refinemask.prediction import Prediction, Predictor, predict, to_predictions
from refinemask.sources.given import GivenImages, ImageSource
from refinemask.sources.item import Item
from refinemask.structures import ImageDetections
from refinemask.tiling import Tiling, make_tiling


def predict_in_tiles(
    predictor: Predictor,
    images: Sequence[NDArray[np.uint8]],
    paths: Sequence[Path | None] | None = None,
    *,
    tiling: Tiling | None,
    batch_size: int = 1,
) -> list[Prediction]:
    """Like :func:`predict`, but an image that is larger than a tile is predicted tile by tile.

    The other images make one batch, as they do without tiles.

    Args:
        predictor: the detector.
        images: the decoded images, of any sizes.
        paths: the images' files, if they have any.
        tiling: the tiles; None leaves every image whole.
        batch_size: tiles of an image that run together.

    Returns:
        The prediction of each image, in order.

    Raises:
        InputError: a tile is larger, or a batch has more images, than the predictor takes.
        UserError: what the predictor found is not finite.
    """
    paths = paths or [None] * len(images)
    large = [tiling is not None and not tiling.fits(*image.shape[:2]) for image in images]
    whole = [index for index, is_large in enumerate(large) if not is_large]
    found = predict(predictor, [images[i] for i in whole], [paths[i] for i in whole]) if whole else []
    rest = iter(found)
    return [
        _predict_tiles(predictor, image, path, tiling, batch_size) if tiling is not None and is_large else next(rest)
        for image, path, is_large in zip(images, paths, large, strict=True)
    ]


def _predict_tiles(
    predictor: Predictor, image: NDArray[np.uint8], path: Path | None, tiling: Tiling, batch_size: int
) -> Prediction:
    tiles = tiling.tiles(*image.shape[:2])
    # A file that takes no fewer would run copies.
    batch_size = max(batch_size, getattr(predictor, "smallest_batch", 1))
    found: list[ImageDetections] = []
    for start in range(0, len(tiles), batch_size):
        batch = predict(predictor, [tile.of(image) for tile in tiles[start : start + batch_size]])
        found += [ImageDetections(each.boxes, each.scores, each.labels, list(each.rles)) for each in batch]
    shape = image.shape[:2]
    [prediction] = to_predictions([join(found, tiles, *shape)], [shape], predictor.config, [path])
    return prediction


def predict_images(
    predictor: Predictor,
    images: Iterable[ImageSource],
    *,
    batch_size: int = 1,
    tile: int | None = None,
    overlap: int | None = None,
) -> Iterator[Prediction]:
    """Detect the objects of image files and decoded images, one batch in memory at a time.

    With tiles, an image that is larger than one is in memory alone.

    Args:
        predictor: the detector.
        images: paths, PIL images, and arrays [h, w, 3] uint8 RGB, of any sizes. A predictor whose preprocessing has a
            window takes arrays of other real numbers too, which the window maps, and of one channel, [h, w] or
            [h, w, 1].
        batch_size: images, or tiles of a large image, per batch.
        tile: side in pixels of the tiles in which larger images are predicted; None leaves every image whole.
        overlap: width in pixels of the band that neighbouring tiles share; None is an eighth of the tile.

    Returns:
        The prediction of each image, in order, computed when it is asked for.

    Raises:
        UserError: an image cannot be read, is no such array, or does not fit the predictor; or one path is given where
            a list of images is expected.
    """
    source = GivenImages(images)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; expected at least 1")
    return _predict_batches(predictor, source, batch_size, make_tiling(tile, overlap))


def _predict_batches(
    predictor: Predictor, source: GivenImages, batch_size: int, tiling: Tiling | None
) -> Iterator[Prediction]:
    for batch in _batches(predictor, source, batch_size, tiling):
        pixels = [image for _, image in batch]
        yield from predict_in_tiles(
            predictor, pixels, [path for path, _ in batch], tiling=tiling, batch_size=batch_size
        )


def _batches(
    predictor: Predictor, source: GivenImages, batch_size: int, tiling: Tiling | None
) -> Iterator[list[tuple[Path | None, NDArray[np.uint8]]]]:
    """Paths and pixels of the images that go together; one that needs tiles goes alone."""
    batch: list[tuple[Path | None, NDArray[np.uint8]]] = []
    for item in source:
        pixels = _decoded(predictor, item, tiling)
        alone = tiling is not None and not tiling.fits(*pixels.shape[:2])
        if alone and batch:
            yield batch
            batch = []
        batch.append((item.path, pixels))
        if alone or len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _decoded(predictor: Predictor, item: Item, tiling: Tiling | None) -> NDArray[np.uint8]:
    """The pixels of an image that fits the predictor, or has such tiles."""
    pixels = item.read(predictor.config.preprocessing.window)
    try:
        predictor.canvas([tiling.size(*pixels.shape[:2]) if tiling else pixels.shape[:2]])
    except InputError as error:
        raise InputError(f"{item.name}: {error}") from error
    return pixels
