"""What every engine has in common: its interface, and the checks of what goes in.

Imports no PyTorch: a deployment machine without it runs engines too.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any, Protocol

import numpy as np

from refinemask.config import STRIDE, ModelConfig
from refinemask.contract import InputError
from refinemask.data.transforms import resize_shape
from refinemask.foreign import foreign_errors, reason
from refinemask.outputs import OutputError, check_detections, check_real
from refinemask.phases import Phases, unmeasured
from refinemask.prediction import Prediction, encode
from refinemask.selection import WHOLE, Selection
from refinemask.sources.given import ImageSource
from refinemask.streaming.images import predict_images
from refinemask.structures import Detections, ImageDetections


class Shapes(Protocol):
    """The batches and sizes that an engine accepts, such as :class:`refinemask.contract.Bounds`."""

    @property
    def smallest_batch(self) -> int:
        """The smallest number of images that run together."""

    @property
    def typical_batch(self) -> int:
        """The number of images for which the file or package was tuned."""

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """The padded (height, width) for an image of ``height`` × ``width`` pixels."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise an :class:`InputError` unless images of ``shape`` [B, 3, H, W] are accepted."""


class Engine(ABC):
    """A detector behind one interface, whatever runs it.

    :meth:`predict` is all most callers need. Beneath it, :meth:`detect` is ``encode(run(upload(…)))``, and
    :meth:`infer`, which gives the masks as the network made them, is ``download(run(upload(…)))``. The phases are
    public so that a benchmark can time each. What :meth:`run` returned goes into one of the two, once.

    Several threads may call one engine at once, and get what a single one would. As many batches as ``concurrency``
    says are in the network at the same time; the others wait there without using the CPU.
    """

    def __init__(
        self,
        *,
        name: str,
        config: ModelConfig,
        precision: str,
        device: str,
        bounds: Shapes | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        """The runtime, such as ``PyTorch`` or ``ONNX Runtime``."""
        self.config = config
        """Configuration of the model."""
        self.precision = precision
        """Arithmetic of the convolutions: fp32, tf32, bf16, fp16, int8 or fp8; behind a plus sign, the rest."""
        self.device = device
        """Device of the computation: ``cpu`` or ``cuda``."""
        self.bounds = bounds
        """Batches and sizes that the engine accepts; None accepts any."""
        self.path = path
        """The file, as it was named; None if there is none."""
        self.selection = WHOLE
        """Number of detections and score threshold that were asked for in place of the file's."""
        self._config_of_file = config
        self._turn = Lock()
        """Held by the thread whose batch is in the network, where one batch takes all of the device."""

    def __str__(self) -> str:
        return f"{self.path or 'an engine'}: {self.name} in {self.precision} on {self.device}"

    @property
    def smallest_batch(self) -> int:
        """The smallest number of images that the engine runs together; fewer are filled up by the caller."""
        return 1 if self.bounds is None else self.bounds.smallest_batch

    @property
    def preferred_batch(self) -> int:
        """The number of images of a batch, where nobody asks for another one.

        On a CPU it is the smallest, which takes the least memory. On a GPU it is the one for which the file or package
        was tuned.
        """
        if self.bounds is None:
            return 1
        return self.bounds.smallest_batch if self.device == "cpu" else self.bounds.typical_batch

    @property
    def concurrency(self) -> int:
        """The number of batches that are in the network at the same time; more threads than that wait."""
        return 1

    def select(self, selection: Selection) -> None:
        """From now on give the detections that a selection leaves of what the network finds.

        Raises:
            UserError: the network gives fewer detections, or has a higher threshold.
        """
        own = self._config_of_file
        self.selection = selection.beyond(own)
        config = self.selection.of_results(own, self.path)
        # Its window may have been exchanged.
        self.config = replace(config, preprocessing=self.config.preprocessing)

    def predict(
        self,
        images: Iterable[ImageSource],
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> Iterator[Prediction]:
        """Detect objects in image files and decoded images.

        Args:
            images: paths, PIL images, and arrays [h, w, 3] uint8 RGB, of any sizes. Another thread takes them, a few
                ahead of the predictions. An engine whose preprocessing has a window takes arrays of other real numbers
                too, which the window maps, and of one channel, [h, w] or [h, w, 1].
            batch_size: images, or tiles of images, that run together; None is what the engine prefers. Only images of
                one padded size do, and each is padded as it would be alone.
            workers: threads that decode, and that resize and paste; None chooses by the processors.
            tile: side in pixels of the tiles in which larger images are predicted; None leaves every image whole. A
                tile is resized as an image is, so it should be about as large as the images of training.
            overlap: width in pixels of the band that neighbouring tiles share; None is an eighth of the tile. Objects
                of up to this size are whole in a tile; larger ones are put together.

        Returns:
            The prediction of each image, in order. The work begins with the first that is asked for, goes on a few
            images ahead of the caller, and ends with the iteration.

        Raises:
            UserError: an image cannot be read, is no such array, or does not fit the model. The iterator raises it
                when it reaches the image.
        """
        return predict_images(self, images, batch_size=batch_size, workers=workers, tile=tile, overlap=overlap)

    def infer(self, images: Any, image_sizes: Any) -> Detections:
        """Detect objects.

        Args:
            images: uint8 [B, 3, H, W] RGB, padded at the bottom and right; H and W are multiples of 32.
            image_sizes: integer [B, 2], valid (height, width) of each image.
                Both are NumPy arrays or PyTorch tensors in host memory.

        Returns:
            Detections as NumPy arrays; boxes in network-input pixels.

        Raises:
            InputError: an input has the wrong type, layout or size.
            UserError: the network fails on it, or gives anything but such detections.
        """
        images, image_sizes = check_inputs(images, image_sizes, self.bounds)
        uploaded = self.upload(images, image_sizes)
        try:
            found = self.download(self.run(uploaded))
        finally:
            self.release(uploaded)
        with self.named_outputs():
            check_detections(found, len(images), self.config.num_classes)
        return found if self.selection == WHOLE else self.selection.cut(found)

    def detect(
        self,
        images: Any,
        image_sizes: Any,
        scale_factors: np.ndarray,
        image_shapes: Sequence[tuple[int, int]],
        *,
        phases: Phases = unmeasured,
    ) -> list[ImageDetections]:
        """Detect objects and paste their masks into the original images.

        Args:
            images: what :meth:`infer` takes.
            image_sizes: what :meth:`infer` takes.
            scale_factors: float32 [B, 4] (x, y, x, y) from each original image to the network's input.
            image_shapes: (height, width) of each original image.
            phases: told of the phases ``engine`` (wait for a turn, copy to the device, network) and ``paste`` (masks in
                the originals).

        Returns:
            The detections of each image, in pixels of the original images.

        Raises:
            InputError: an input has the wrong type, layout or size.
            UserError: the network fails on it, or gives anything but such detections.
        """
        inputs = check_inputs(images, image_sizes, self.bounds)
        uploaded = None
        try:
            with phases("engine"):
                uploaded = self.upload(*inputs)
                outputs = self.run(uploaded)
            with phases("paste"):
                found = self.encode(outputs, scale_factors, image_shapes)
        finally:
            if uploaded is not None:
                self.release(uploaded)
        with self.named_outputs():
            for index, image in enumerate(found):
                check_real(index, self.config.num_classes, image.labels, boxes=image.boxes, scores=image.scores)
        return found if self.selection == WHOLE else [self.selection.cut_image(image) for image in found]

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        """The padded (height, width) for a batch of original images, as ``transforms.preprocess`` takes it.

        None leaves the size to the images' needs.

        Raises:
            InputError: the images, resized as the model wants them, are larger than the file accepts.
        """
        if self.bounds is None:
            return None
        resized = [resize_shape(height, width, self.config.preprocessing) for height, width in image_shapes]
        return self.bounds.canvas(*(max(side) for side in zip(*resized, strict=True)))

    @abstractmethod
    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> Any:
        """Bring checked inputs to the device; the copy is complete when this returns."""

    @abstractmethod
    def run(self, inputs: Any) -> Any:
        """Run the network on what :meth:`upload` returned; the run is complete when this returns."""

    @abstractmethod
    def download(self, outputs: Any) -> Detections:
        """Bring what :meth:`run` returned to host memory as NumPy arrays."""

    def encode(
        self, outputs: Any, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]
    ) -> list[ImageDetections]:
        """Bring what :meth:`run` returned to host memory, its masks pasted; see :meth:`detect`.

        An engine on a GPU pastes them there if it can.

        Raises:
            UserError: the outputs break the contract.
        """
        found = self.download(outputs)
        with self.named_outputs():
            check_detections(found, len(image_shapes), self.config.num_classes)
            return encode(found, scale_factors, image_shapes)

    def release(self, uploaded: Any) -> None:  # noqa: B027 most engines hold nothing
        """Give up what :meth:`upload` returned; without effect where :meth:`download` or :meth:`encode` has taken it.

        Whoever calls the phases one by one calls this if something comes between them.
        """

    def running(self) -> AbstractContextManager[None]:
        """Within the block, what the runtime raises becomes a UserError that names the file and the engine."""
        return foreign_errors(f"{self} fails on these images", "export it again (export.to_onnx)")

    @contextmanager
    def named_outputs(self) -> Iterator[None]:
        """Within the block, outputs that break the contract become an error that names the file and the engine."""
        try:
            yield
        except ValueError as error:
            raise OutputError(f"{self}: {reason(error)}; export it again, or try another precision") from error


def check_inputs(images: Any, image_sizes: Any, bounds: Shapes | None) -> tuple[np.ndarray, np.ndarray]:
    """The inputs as contiguous arrays, uint8 [B, 3, H, W] and int64 [B, 2].

    Raises:
        InputError: an input has the wrong type, layout or size.
    """
    try:
        images, image_sizes = np.ascontiguousarray(images), np.ascontiguousarray(image_sizes)
    # Lists that are no arrays, tensors on a device, and tensors that need gradients.
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"inputs must be NumPy arrays or tensors in host memory: {reason(error)}") from error
    _check_images(images)
    if image_sizes.dtype.kind not in "iu" or image_sizes.shape != (len(images), 2):
        raise InputError(
            f"image_sizes is {image_sizes.dtype} {list(image_sizes.shape)}; expected int64 [{len(images)}, 2], "
            "the valid (height, width) of each image"
        )
    height, width = images.shape[2:]
    if (image_sizes < 1).any() or (image_sizes > (height, width)).any():
        raise InputError(f"image_sizes {image_sizes.tolist()} must lie between 1 and the padded size {height}x{width}")
    if bounds is not None:
        bounds.check(images.shape)
    return images, image_sizes.astype(np.int64, copy=False)


def _check_images(images: np.ndarray) -> None:
    shape = list(images.shape)
    if images.dtype != np.uint8:
        raise InputError(f"images are {images.dtype}; expected uint8 RGB: normalisation is part of the network")
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images have shape {shape}; expected [B, 3, H, W] (from [B, H, W, 3]: transpose(0, 3, 1, 2))")
    if images.size == 0 or images.shape[2] % STRIDE or images.shape[3] % STRIDE:
        raise InputError(
            f"images have shape {shape}; expected at least one image, height and width multiples of {STRIDE}: "
            "pad at the bottom and right (refinemask.data.transforms.pad_batch)"
        )
