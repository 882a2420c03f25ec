"""What a detector finds in images, in pixels of the original images. Imports no PyTorch."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from refinemask.config import ModelConfig
from refinemask.contours import Polygon, polygons_of
from refinemask.data.images import read_image
from refinemask.data.transforms import preprocess
from refinemask.extras import needed_by
from refinemask.files import UserError, atomic_write
from refinemask.masks import NOT_FINITE, RLE, decode, paste_rle
from refinemask.nearest import nearest
from refinemask.phases import Phases, unmeasured
from refinemask.png import encode_png
from refinemask.structures import Detections, ImageDetections, Result

if TYPE_CHECKING:
    import supervision

DRAWN_SCORE = 0.5
"""Lowest score of the detections that a drawing shows by default."""
MOST_LISTED = 5
"""Classes that an error names."""


class Predictor(Protocol):
    """What predictions need of a detector; every engine is a predictor."""

    name: str
    """The runtime, such as ``PyTorch``."""
    config: ModelConfig
    """Configuration of the model."""
    precision: str
    """Arithmetic of the convolutions."""

    def detect(
        self,
        images: NDArray[np.uint8],
        image_sizes: NDArray[np.int64],
        scale_factors: NDArray[np.float32],
        image_shapes: Sequence[tuple[int, int]],
        *,
        phases: Phases = unmeasured,
    ) -> list[ImageDetections]:
        """The detections of each image of a padded batch.

        Several threads may call this at once.

        Args:
            images: uint8 [B, 3, H, W] RGB.
            image_sizes: int64 [B, 2], valid (height, width) of each image.
            scale_factors: those of :func:`encode`.
            image_shapes: those of :func:`encode`.
            phases: told of the phases ``engine`` and ``paste``.
        """

    def canvas(self, image_shapes: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
        """The fixed padded (height, width) for a batch of original (height, width); None pads as the images need."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Prediction:
    """The objects found in one image, best first, in pixels of the original image."""

    path: Path | None
    """The image's file; None for an image that was given as an array."""
    height: int
    """Height of the image in pixels."""
    width: int
    """Width of the image in pixels."""
    boxes: NDArray[np.float32]
    """[N, 4] float32 (x1, y1, x2, y2) in pixels of the original image."""
    scores: NDArray[np.float32]
    """[N] float32, descending."""
    labels: NDArray[np.int64]
    """[N] int64, 0-based positions among the detector's classes."""
    rles: Sequence[RLE]
    """N masks of the whole image in COCO's compressed run-length encoding."""
    config: ModelConfig
    """Configuration of the detector, which names the classes."""

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"Prediction({self.path or 'array'}: {self.height}x{self.width} pixels, {len(self)} objects)"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class name of each detection."""
        return tuple(self.config.class_names[label] for label in self.labels.tolist())

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The data set's category id of each detection."""
        return tuple(self.config.category_ids[label] for label in self.labels.tolist())

    def masks(self) -> NDArray[np.bool_]:
        """The masks [N, height, width]. A hundred masks of a large photo take gigabytes; ``rles`` do not."""
        return decode(self.rles, self.height, self.width)

    def polygons(self, tolerance: float = 0.0) -> list[list[Polygon]]:
        """The masks as polygons: for each object its parts, each the corners [K, 2] int32 (x, y) of an outline.

        Outlines run along the edges of pixels: corners are whole numbers from 0 to the image's width and height, and a
        pixel covers the unit square to the right of and below its index. ``pycocotools`` makes the masks of them
        again. Holes are joined to the outline around them (``refinemask.contours``). An object without a pixel has no
        part.

        Args:
            tolerance: pixels by which an outline may leave that of the mask so that it has fewer corners; 0 is exact.

        Raises:
            UserError: the tolerance is not a number from 0 on.
        """
        return [polygons_of(rle, tolerance) for rle in self.rles]

    def select(self, class_names: Iterable[str] | None = None, *, min_score: float = 0.0) -> "Prediction":
        """The same prediction with some of its objects.

        Args:
            class_names: the classes of the objects to keep; None keeps all.
            min_score: the lowest score of an object to keep.

        Raises:
            UserError: there is no such class.
        """
        kept = self.scores >= min_score
        if class_names is not None:
            kept &= np.isin(self.labels, class_labels(self.config, class_names))
        indices = np.flatnonzero(kept)
        return replace(
            self,
            boxes=self.boxes[indices],
            scores=self.scores[indices],
            labels=self.labels[indices],
            rles=[self.rles[index] for index in indices.tolist()],
        )

    def to_coco(self, image_id: int | None = None) -> list[Result]:
        """The entries of a COCO results file.

        ``bbox`` is part of an entry, as in the official result files.

        Args:
            image_id: the image's number in its data set; None leaves the key out.
        """
        first = {} if image_id is None else {"image_id": int(image_id)}
        rows = zip(self.category_ids, self.boxes.tolist(), self.scores.tolist(), self.rles, strict=True)
        return [
            {
                **first,
                "category_id": category_id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            }
            for category_id, (x1, y1, x2, y2), score, rle in rows
        ]

    def to_supervision(self) -> "supervision.Detections":
        """The detections as ``supervision`` takes them, class names in ``data["class_name"]``."""
        with needed_by("Prediction.to_supervision"):
            import supervision

        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks(),
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.class_names, dtype=np.str_)},
        )

    def draw(self, image: NDArray[np.uint8] | None = None, *, min_score: float = DRAWN_SCORE) -> NDArray[np.uint8]:
        """Draw the masks over the image, and names where they help (``refinemask.drawing``).

        Args:
            image: the image [height, width, 3] uint8 RGB; its file is read again if not given.
            min_score: lowest score of a detection that is drawn.

        Returns:
            [h, w, 3] uint8 RGB; small images are enlarged and huge ones reduced.

        Raises:
            UserError: there is no image to draw on, or it has another size than the predicted one.
        """
        # Heavy, and of no use to whoever wants numbers.
        with needed_by("Prediction.draw"):
            from refinemask.drawing import draw

        if image is None:
            if self.path is None:
                raise UserError("the predicted image was an array, which is not kept; give it again: draw(image)")
            image = read_image(self.path, self.config.preprocessing.window)
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            name, expected = self.path or "the image to draw on", [self.height, self.width, 3]
            raise UserError(f"{name}: is {image.dtype} {list(image.shape)}; expected uint8 {expected}, as predicted")
        shown = [result for result in self.to_coco() if result["score"] >= min_score]
        return draw(image, shown, dict(zip(self.config.category_ids, self.config.class_names, strict=True)))

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        image: NDArray[np.uint8] | None = None,
        min_score: float = DRAWN_SCORE,
    ) -> Path:
        """Write :meth:`draw` as a PNG file, atomically.

        Args:
            directory: folder of the drawing; made if missing.
            name: name of the PNG file; None is the image file's name with the ending ``.png``.
            image: the image, as :meth:`draw` takes it.
            min_score: lowest score of a detection that is drawn.

        Returns:
            The file's path.

        Raises:
            UserError: there is no image or no name, the file would replace the image, or it cannot be written.
        """
        if name is None:
            if self.path is None:
                raise UserError('the predicted image was an array without a name; give one: save(…, name="a.png")')
            name = f"{self.path.stem}.png"
        if Path(name).name != name or Path(name).suffix != ".png":
            raise UserError(f"{name}: expected the name of a .png file, without a folder")
        target = Path(directory) / name
        if self.path is not None and os.path.realpath(target) == os.path.realpath(self.path):
            raise UserError(f"{target}: is the predicted image and would be overwritten; give another directory")
        data = encode_png(self.draw(image, min_score=min_score), str(target))
        with atomic_write(target) as temporary:
            temporary.write_bytes(data)
        return target


def class_labels(config: ModelConfig, class_names: Iterable[str]) -> list[int]:
    """The labels of classes, 0-based positions among the detector's, ascending.

    Args:
        config: the detector's configuration.
        class_names: names of classes.

    Raises:
        UserError: there is no such class.
    """
    wanted = set(class_names)
    for name in sorted(wanted - set(config.class_names)):
        raise UserError(
            f"class {name!r}: the model has {_listed(config.class_names)}{nearest(name, config.class_names)}"
        )
    return [label for label, name in enumerate(config.class_names) if name in wanted]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_LISTED])
    return f"the classes {shown}" if len(names) <= MOST_LISTED else f"{len(names)} classes: {shown}, …"


def predict(
    predictor: Predictor, images: Sequence[NDArray[np.uint8]], paths: Sequence[Path | None] | None = None
) -> list[Prediction]:
    """Detect the objects of decoded [h, w, 3] uint8 RGB images, in one batch.

    A predictor that takes no batch as small as this one says so by an attribute ``smallest_batch``, as engines do. The
    last image then fills up the batch, and what is found in its copies is dropped.

    Args:
        predictor: the detector.
        images: the decoded images, of any sizes.
        paths: the images' files, if they have any.

    Returns:
        The prediction of each image, in order.

    Raises:
        InputError: an image is larger, or the batch has more images, than the predictor takes.
        UserError: what the predictor found is not finite.
    """
    shapes = [image.shape[:2] for image in images]
    return to_predictions(detect(predictor, images, predictor.canvas(shapes)), shapes, predictor.config, paths)


def detect(
    predictor: Predictor,
    images: Sequence[NDArray[np.uint8]],
    canvas: tuple[int, int] | None,
    phases: Phases = unmeasured,
) -> list[ImageDetections]:
    """The detections of each of some decoded [h, w, 3] uint8 RGB images, in one batch; see :func:`predict`.

    Args:
        predictor: the detector.
        images: the decoded images, of any sizes.
        canvas: padded (height, width) of the batch; None is the smallest that holds every image.
        phases: told of the phases ``resize``, ``engine`` and ``paste``.
    """
    count = len(images)
    missing: int = getattr(predictor, "smallest_batch", 1) - count
    images = [*images, *[images[-1]] * missing]
    with phases("resize"):
        batch = preprocess(images, predictor.config.preprocessing, canvas)
    shapes = [image.shape[:2] for image in images]
    try:
        found = predictor.detect(batch.images, batch.image_sizes, batch.scale_factors, shapes, phases=phases)
    except ValueError as error:
        if str(error) != NOT_FINITE:
            raise
        raise UserError(f"{predictor.name} {predictor.precision}: {NOT_FINITE}") from error
    return found[:count]


def to_predictions(
    found: Sequence[ImageDetections],
    image_shapes: Sequence[tuple[int, int]],
    config: ModelConfig,
    paths: Sequence[Path | None] | None = None,
) -> list[Prediction]:
    """The predictions of a batch.

    Args:
        found: the detections of each image.
        image_shapes: (height, width) of each original image.
        config: the detector's configuration.
        paths: the images' files, if they have any.
    """
    return [
        Prediction(path=path, height=height, width=width, config=config, **detections._asdict())
        for detections, (height, width), path in zip(found, image_shapes, paths or [None] * len(found), strict=True)
    ]


def encode(
    detections: Detections, scale_factors: NDArray[np.float32], image_shapes: Sequence[tuple[int, int]]
) -> list[ImageDetections]:
    """The real detections of each image; the masks are pasted once, into the original image.

    Args:
        detections: NumPy arrays, boxes in network-input pixels.
        scale_factors: [B, 4] (x, y, x, y) from the original image to the network's input.
        image_shapes: (height, width) of each original image.

    Raises:
        ValueError: a value of a mask or box is not finite.
    """
    found = []
    for index, (height, width) in enumerate(image_shapes):
        real = slice(int(detections.num_detections[index]))
        boxes = detections.boxes[index, real] / scale_factors[index]
        found.append(
            ImageDetections(
                boxes=boxes,
                scores=detections.scores[index, real],
                labels=detections.labels[index, real],
                rles=paste_rle(detections.masks[index, real], boxes, height, width),
            )
        )
    return found
