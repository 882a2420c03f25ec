"""Predictions of images by a Triton server, which does everything but reading the files."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from engines.triton.interface import IMAGE, PIXELS, RESPONSE, RESPONSES, SCORE_THRESHOLD, Response
from engines.triton_client.answer import OUTPUTS, prediction_of
from engines.triton_client.connection import Connection, Parameter
from engines.triton_client.connections import Connections
from engines.triton_client.errors import RefusedRequestError, ServerError
from engines.triton_client.in_flight import in_order
from engines.triton_client.served import ServedModel, find_front
from refinemask.config import ModelConfig
from refinemask.data.images import decode_image, read_bytes
from refinemask.files import UserError
from refinemask.outputs import OutputError
from refinemask.prediction import Prediction
from refinemask.sources.given import GivenImages, ImageSource
from refinemask.sources.images import EncodedImage, ImageFile
from refinemask.sources.item import Item
from refinemask.streaming.work import Result

T = TypeVar("T")
Pixels = Callable[[], NDArray[np.uint8]]
"""Gives the image [h, w, 3] uint8 RGB: it is decoded here only if somebody asks."""
Render = Callable[[Item, Prediction, Pixels], T]
"""Makes something of an image and what was found in it, in any thread."""
TIMEOUT = 60.0
"""Seconds to wait for an answer, where nobody asks for another time."""
REQUESTS = 4
"""Requests in flight, where nobody asks for another number: enough that a server on a GPU forms batches."""


class TritonClient:
    """A front model of ``engines.triton`` on a server, as a detector.

    Files are sent as they are, and decoded by the server. Close it when done, or use it in a ``with`` block. Several
    threads may use one client.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        response: Response = "rle",
        score_threshold: float | None = None,
        requests: int = REQUESTS,
        timeout: float = TIMEOUT,
    ) -> None:
        """Connect, and ask the server what it serves.

        Args:
            url: ``http://HOST:PORT`` or ``grpc://HOST:PORT``.
            model: name of the model; None is the only one of this project that takes images.
            response: what the server sends of each mask; predictions are the same, the bytes are not.
            score_threshold: score above which a detection counts; None is the model's, and no lower one is possible.
            requests: requests in flight at the same time.
            timeout: seconds to wait for an answer.

        Raises:
            UserError: an argument is impossible, no such server or model is there, or tritonclient is missing.
        """
        if response not in RESPONSES:
            raise UserError(f"response is {response!r}; expected {', '.join(RESPONSES)}")
        self._connections = Connections(url, timeout, requests)
        self._requests = requests
        self._response: Response = response
        self._parameters: dict[str, Parameter] = {RESPONSE: response}
        if score_threshold is not None:
            # Older servers take no fractions but as text.
            self._parameters[SCORE_THRESHOLD] = repr(float(score_threshold))
        self.served: ServedModel = self._connections.first(find_front, model)
        """What the server says of the model."""
        least = self.config.box_head.score_threshold
        if score_threshold is not None and not least <= score_threshold <= 1:
            self.close()
            raise UserError(f"{self}: --score-threshold is {score_threshold:g}; expected {least:g}, its own, to 1")

    def __str__(self) -> str:
        return f"{self._connections.address}: model '{self.served.name}'"

    @property
    def config(self) -> ModelConfig:
        """Configuration of the detector, which names the classes."""
        return self.served.config

    def predict(self, images: Iterable[ImageSource]) -> Iterator[Prediction]:
        """Detect objects in image files and decoded images.

        Args:
            images: paths, PIL images, and arrays [h, w, 3] uint8 RGB, of any sizes, as ``Engine.predict`` takes them.

        Returns:
            The prediction of each image, in order. The iteration sends a few images ahead of the caller.

        Raises:
            RefusedRequestError: the server refuses an image; the iterator raises it when it reaches the image.
            UserError: a file cannot be read, or the server is gone.
        """
        return self._predictions(GivenImages(images))

    def _predictions(self, images: GivenImages) -> Generator[Prediction, None, None]:
        with closing(self.stream(images)) as results:
            for result in results:
                if result.error is not None:
                    raise result.error
                assert result.prediction is not None
                yield result.prediction

    @overload
    def stream(self, items: Iterable[Item], render: None = None) -> Generator[Result[None], None, None]: ...
    @overload
    def stream(self, items: Iterable[Item], render: Render[T]) -> Generator[Result[T], None, None]: ...
    def stream(self, items: Iterable[Item], render: Render[Any] | None = None) -> Generator[Result[Any], None, None]:
        """The result of each image of a source, in order. An image that fails is such a result.

        Args:
            items: the images, such as :func:`refinemask.source_of` gives them.
            render: makes something of each image beside the other requests, such as a drawing.

        Raises:
            ServerError: the server is gone, or does not answer in time; the results before that come first.
        """
        # What is sent of a camera must not grow old.
        ahead = 0 if getattr(items, "live", False) else 2 * self._requests
        return in_order(partial(self._result, render=render), items, self._requests, ahead)

    def _result(self, item: Item, render: Render[Any] | None) -> Result[Any]:
        prediction = None
        try:
            data = _bytes_of(item)
            pixels = item.read(self.config.preprocessing.window) if data is None else None
            prediction = self._ask(item, data, pixels)
            if render is None:
                return Result(item=item, prediction=prediction)
            decoded = partial(self._decode, item, data, pixels)
            return Result(item=item, prediction=prediction, rendered=render(item, prediction, decoded))
        except ServerError as error:
            raise type(error)(f"{item.name}: {error}") from error
        except UserError as error:
            return Result(item=item, error=error, was_read=prediction is not None)

    def _ask(self, item: Item, data: bytes | None, pixels: NDArray[np.uint8] | None) -> Prediction:
        """What the server finds in the bytes of a file, or in pixels."""
        sent = {PIXELS: pixels[None]} if pixels is not None else {IMAGE: np.array([[data]], dtype=object)}
        try:
            answer = self._connections.do(Connection.infer, self.served.name, sent, OUTPUTS, self._parameters)
            return prediction_of(answer, self._response, self.config, item.path)
        except RefusedRequestError as error:
            raise RefusedRequestError(f"{item.name}: {error}") from error
        except OutputError as error:
            raise OutputError(f"{item.name}: {self}: {error}") from error

    def _decode(self, item: Item, data: bytes | None, pixels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        if pixels is not None:
            return pixels
        return decode_image(item.name, cast(bytes, data), self.config.preprocessing.window)

    def close(self) -> None:
        """End the connections."""
        self._connections.close()

    def __enter__(self) -> "TritonClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _bytes_of(item: Item) -> bytes | None:
    """The bytes of an item that is an image file; None of one that has pixels alone, such as a frame.

    Raises:
        UserError: the file cannot be read.
    """
    if isinstance(item, ImageFile):
        return read_bytes(item.path)
    return item.data if isinstance(item, EncodedImage) else None
