"""Pictures of a data set with its objects drawn over them; those that training loses are boxed in red."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refinemask.data.coco import CocoAnnotation, CocoDataset
from refinemask.data.geometry import resize_mask
from refinemask.data.images import read_image
from refinemask.data.inspection.image_files import ImageFile, Problem
from refinemask.data.inspection.losses import Reasons
from refinemask.data.inspection.run import Source
from refinemask.data.segmentation import Segmentation
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.masks import RLE, polygon_rle
from refinemask.structures import Result

DRAWN_SIDE = 640
"""Longer side of a drawing in pixels, at which outlines are smooth."""
SHOWN_SIDE = 560
"""Longer side of a picture on the page."""
QUALITY = 78
"""JPEG's quality of the pictures."""
UNSHOWN: set[Problem | None] = {"missing", "unreadable", "without a window"}
"""Problems of images of which there is no picture."""
LOST = (230, 30, 60)
"""Colour of the boxes of lost objects."""


@dataclass(frozen=True)
class Overlay:
    """A drawn picture."""

    name: str
    why: str
    """Why it was chosen."""
    trainable: int
    """Number of objects that training would see."""
    lost: dict[str, int]
    """Number of the other objects by reason."""
    problem: str
    """Why the whole image is lost, in one line; empty if it is not."""
    jpeg: bytes
    size: tuple[int, int]
    """(height, width) of the picture."""


def require_drawing() -> None:
    """Raise a UserError unless pictures can be drawn here."""
    with needed_by("the pictures of the page", otherwise="leave them out with --pictures 0"):
        import refinemask.drawing  # noqa: F401


def make_overlays(source: Source, number: int, seed: int) -> Iterator[Overlay]:
    """Draw a sample of the images: some with losses, the fullest ones, each class, and others at random.

    An image that cannot be read is passed over.
    """
    for place, why in choose(source, number, seed):
        file = source.files[place]
        try:
            pixels = read_image(file.path, source.window) if file.path is not None else None
        except UserError:
            continue
        if pixels is not None:
            yield _overlay(source.dataset, file, source.reasons, pixels, why)


def choose(source: Source, number: int, seed: int) -> list[tuple[int, str]]:
    """The positions of a sample of images that can be read, and why each was chosen; the same for the same seed."""
    random = np.random.default_rng(seed)
    usable = [place for place, file in enumerate(source.files) if file.problem not in UNSHOWN]
    shuffled = [usable[index] for index in random.permutation(len(usable))]
    chosen: dict[int, str] = {}

    def take(places: Iterator[tuple[int, str]], most: int) -> None:
        fresh = ((place, why) for place, why in places if place not in chosen)
        chosen.update(islice(fresh, max(0, min(most, number - len(chosen)))))

    take(_with_losses(source, shuffled), -(-number // 4))
    take(_fullest(source, shuffled), -(-number // 6))
    take(_of_each_class(source, shuffled), -(-number // 3))
    take(((place, "at random") for place in shuffled), number)
    return list(chosen.items())


def _with_losses(source: Source, places: Sequence[int]) -> Iterator[tuple[int, str]]:
    """One image for each reason first, then the others."""
    reasons_of = {place: set(source.reasons[source.files[place].image.id]) - {None} for place in places}
    shown: set[str | None] = set()
    for place, reasons in reasons_of.items():
        if reasons - shown:
            shown |= reasons
            yield place, "with lost objects"
    yield from ((place, "with lost objects") for place, reasons in reasons_of.items() if reasons)


def _fullest(source: Source, places: Sequence[int]) -> Iterator[tuple[int, str]]:
    def objects(place: int) -> int:
        return len(source.reasons[source.files[place].image.id])

    yield from (
        (place, "with the most objects") for place in sorted(filter(objects, places), key=objects, reverse=True)
    )


def _of_each_class(source: Source, places: Sequence[int]) -> Iterator[tuple[int, str]]:
    """An image of each class, the rarest first."""
    of_class: dict[int, list[int]] = {category: [] for category in source.dataset.categories}
    for place in places:
        for category in {each.category_id for each in source.dataset.annotations[source.files[place].image.id]}:
            of_class[category].append(place)
    for category, found in sorted(of_class.items(), key=lambda item: len(item[1])):
        if found:
            yield found[0], f"with {source.dataset.categories[category]}"


def _overlay(dataset: CocoDataset, file: ImageFile, reasons: Reasons, pixels: NDArray[np.uint8], why: str) -> Overlay:
    # Supervision is an extra.
    from refinemask.drawing import draw

    image = file.image
    pairs = list(zip(dataset.annotations[image.id], reasons[image.id], strict=True))
    old = pixels.shape[0], pixels.shape[1]
    scale = DRAWN_SIDE / max(old)
    new = max(1, round(old[0] * scale)), max(1, round(old[1] * scale))
    scene: NDArray[np.uint8] = cv2.resize(  # type: ignore[assignment]
        pixels, new[::-1], interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    )
    fits = old == (image.height, image.width)
    if fits:
        seen = [annotation for annotation, reason in pairs if reason is None]
        # The largest first, so that they hide no small ones.
        seen.sort(key=lambda annotation: -annotation.area)
        scene = draw(scene, [_result(annotation, old, new) for annotation in seen], dataset.categories)
        for annotation, reason in pairs:
            if reason is not None:
                _mark_lost(scene, annotation, old)
    shown = Image.fromarray(scene)
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    stream = BytesIO()
    shown.save(stream, "JPEG", quality=QUALITY)
    lost = [reason.partition(" (")[0] for _, reason in pairs if reason is not None]
    return Overlay(
        name=image.file_name,
        why=why,
        trainable=len(pairs) - len(lost),
        lost={reason: lost.count(reason) for reason in dict.fromkeys(lost)},
        problem=file.reason,
        jpeg=stream.getvalue(),
        size=(shown.height, shown.width),
    )


def _result(annotation: CocoAnnotation, old: tuple[int, int], new: tuple[int, int]) -> Result:
    """An object as the drawing takes it, in a picture of the (height, width) ``new`` instead of ``old``."""
    y, x = new[0] / old[0], new[1] / old[1]
    left, top, width, height = annotation.bbox
    return {
        "category_id": annotation.category_id,
        "bbox": [left * x, top * y, width * x, height * y],
        "segmentation": _rle(annotation.segmentation, old, new),
    }


def _rle(segmentation: Segmentation, old: tuple[int, int], new: tuple[int, int]) -> RLE:
    from pycocotools import mask as coco_mask

    mask = resize_mask(segmentation, old, new)
    return polygon_rle(mask, *new) if isinstance(mask, list) else coco_mask.encode(np.asfortranarray(mask))


def _mark_lost(scene: NDArray[np.uint8], annotation: CocoAnnotation, old: tuple[int, int]) -> None:
    """Box and cross out a lost object."""
    height, width = scene.shape[:2]
    scale = np.array([width / old[1], height / old[0]] * 2)
    x, y, w, h = annotation.bbox
    corners = np.clip(np.array([x, y, x + w, y + h]) * scale, 0, [width - 1, height - 1] * 2)
    left, top, right, bottom = (int(value) for value in corners.round())
    for colour, thickness in (((255, 255, 255), 4), (LOST, 2)):
        cv2.rectangle(scene, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)
    cv2.line(scene, (left, top), (right, bottom), LOST, 1, cv2.LINE_AA)
    cv2.line(scene, (left, bottom), (right, top), LOST, 1, cv2.LINE_AA)
