"""The pictures of the images in which detectors differ most. Imports no PyTorch."""

import os
from collections.abc import Mapping, Sequence

from refinemask.config import Window
from refinemask.data.annotated import read_annotated
from refinemask.data.coco import CocoDataset
from refinemask.differences.annotated import AnnotatedObjects
from refinemask.differences.choice import MOST_SEARCHED, NUMBER, Difference, Read, most_different
from refinemask.differences.pairing import MIN_IOU, MIN_SCORE
from refinemask.differences.pictures import draw_differences
from refinemask.files import UserError
from refinemask.page.viewer import Views, views_html
from refinemask.structures import Result

MOST_BYTES = 3_600_000
"""About how long all pictures of a page are at most, so that a page is below five million bytes."""
LARGEST_PICTURE = 600_000
"""Bytes of a picture beyond which a finer one shows nothing more."""
NOTHING = "<p>There is no picture: no mask differs, or the images cannot be read any more.</p>"
MEASURE = (
    f"Of two sets of masks, those of a class and an IoU above {MIN_IOU} are matched, the largest IoU first; an image's "
    "disagreement is one minus its panoptic quality (the sum of these IoUs over the mean number of objects), as if the "
    f"image had one more object that is the same in both. Objects count from a score of {MIN_SCORE} on, and their "
    f"partners from half of it. Of more than {MOST_SEARCHED:,} images, so many are searched, spread evenly over all."
)
"""How images are chosen."""


def engine_differences(
    dataset: CocoDataset,
    directory: str | os.PathLike[str],
    window: Window | None,
    names: Sequence[str],
    found: Sequence[Read],
    image_ids: Sequence[int],
    number: int = NUMBER,
) -> list[Views]:
    """Pictures of the images in which engines differ most from the first one, beside the annotations.

    An image that cannot be read any more is passed over.

    Args:
        dataset: the annotated images.
        directory: folder of the images' files.
        window: how images of more than 8 bits become images of 8.
        names: what the engines are called.
        found: what each engine found.
        image_ids: images that all have seen.
        number: largest number of images.
    """
    first, *others = found
    annotated = AnnotatedObjects(dataset)
    chosen = most_different(first, others, image_ids, number)

    def draw(difference: Difference) -> Views | None:
        image_id, other = difference
        results = first(image_id), others[other](image_id)
        sides = names[0], names[1 + other]
        return _draw(dataset, directory, window, image_id, sides, results, annotated[image_id], len(chosen))

    return [views for views in map(draw, chosen) if views is not None]


def annotation_differences(
    dataset: CocoDataset,
    directory: str | os.PathLike[str],
    window: Window | None,
    found: Mapping[int, Sequence[Result]],
    number: int = NUMBER,
) -> list[Views]:
    """Pictures of the images in which results differ most from the annotations.

    Images with a crowd are left out: in a crowd there is no telling what is wrong. So is an image that cannot
    be read any more.

    Args:
        dataset: the annotated images.
        directory: folder of the images' files.
        window: how images of more than 8 bits become images of 8.
        found: results by image id.
        number: largest number of images.
    """
    annotated = AnnotatedObjects(dataset)
    ids = [
        image.id
        for image in dataset.images
        if image.id in found and not any(each.iscrowd for each in dataset.annotations[image.id])
    ]
    chosen = most_different(annotated.__getitem__, [found.__getitem__], ids, number)
    sides = "annotations", "predictions"
    drawn = (
        _draw(dataset, directory, window, each, sides, (annotated[each], found[each]), None, len(chosen))
        for each, _ in chosen
    )
    return [views for views in drawn if views is not None]


def _draw(
    dataset: CocoDataset,
    directory: str | os.PathLike[str],
    window: Window | None,
    image_id: int,
    sides: tuple[str, str],
    results: tuple[Sequence[Result], Sequence[Result]],
    annotated: Sequence[Result] | None,
    number: int,
) -> Views | None:
    [image] = (image for image in dataset.images if image.id == image_id)
    try:
        pixels = read_annotated(directory, image, window)
    except UserError:
        return None
    return draw_differences(
        pixels,
        image.file_name,
        sides,
        results,
        dataset.categories,
        annotated=annotated,
        most_bytes=min(LARGEST_PICTURE, MOST_BYTES // number),
    )


def differences_html(views: Sequence[Views]) -> str:
    """How the images were chosen, and their pictures."""
    return f'<p class="soft">{MEASURE}</p>' + (views_html(views) if views else NOTHING)
