"""Predictions of images that Python code gives. Imports no PyTorch."""

from collections.abc import Generator, Iterable
from contextlib import closing

from refinemask.prediction import Prediction, Predictor
from refinemask.sources.given import GivenImages, ImageSource
from refinemask.streaming.plan import StreamOptions
from refinemask.streaming.stream import stream
from refinemask.tiling import make_tiling


def predict_images(
    predictor: Predictor,
    images: Iterable[ImageSource],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
) -> Generator[Prediction, None, None]:
    """Detect the objects of image files and decoded images, a few of them in memory at a time.

    Args:
        predictor: the detector.
        images: paths, PIL images, and arrays [h, w, 3] uint8 RGB, of any sizes; another thread takes them, a few ahead
            of the predictions. A predictor whose preprocessing has a window takes arrays of other real numbers too,
            which the window maps, and of one channel, [h, w] or [h, w, 1].
        batch_size: images, or tiles of images, that go through the network together; None is what the predictor
            prefers.
        workers: threads that decode, and that resize and paste; None chooses by the processors.
        tile: side in pixels of the tiles in which larger images are predicted; None leaves every image whole.
        overlap: width in pixels of the band that neighbouring tiles share; None is an eighth of the tile.

    Returns:
        The prediction of each image, in order. The work begins with the first that is asked for, goes on a few images
        ahead of the caller, and ends with the iteration.

    Raises:
        UserError: an image cannot be read, is no such array, or does not fit the predictor; or one path is given where
            a list of images is expected. That of an image comes where the iteration reaches it, and ends it.
    """
    given = GivenImages(images)
    options = StreamOptions(batch_size=batch_size, workers=workers, tiling=make_tiling(tile, overlap))
    return _predictions(predictor, given, options)


def _predictions(
    predictor: Predictor, images: GivenImages, options: StreamOptions
) -> Generator[Prediction, None, None]:
    with closing(stream(predictor, images, options).results()) as results:
        for result in results:
            if result.error is not None:
                raise result.error
            assert result.prediction is not None
            yield result.prediction
