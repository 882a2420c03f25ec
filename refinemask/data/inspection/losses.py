"""What training would lose of a data set, and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from refinemask.data.coco import CocoDataset
from refinemask.data.inspection.image_files import ImageFile, Problem
from refinemask.data.trainable import SMALLEST_SIDE, why_left_out

UNDER_SMALLEST_SIDE = f"objects of images under {SMALLEST_SIDE} pixels"
OF_FILES: dict[Problem, str] = {
    "missing": "objects of images without a file",
    "unreadable": "objects of images that cannot be read",
    "of another size": "objects of images of another size than annotated",
    "unrotated": "objects annotated on the unrotated picture",
    "without a window": "objects of images of more than 8 bits",
}
"""Why the objects of an image whose file has a problem are lost, as words behind a number."""

Reasons = dict[int, list[str | None]]
"""By image id, for each of its objects why it is not trained on; None if it is."""
OBJECTS = ("objects", "boxes", "annotations", "malformed shapes")
"""With what findings of objects begin; readers leave out images and categories, too."""


@dataclass(frozen=True)
class Losses:
    """The objects that training would not see."""

    objects: int
    """Number of all objects of the file, those that its reader left out among them."""
    reasons: dict[str, int]
    """Number of lost objects by reason, as words behind a number; the largest first."""

    @property
    def lost(self) -> int:
        """Number of lost objects."""
        return sum(self.reasons.values())

    @property
    def share(self) -> float:
        """Share of the objects that are lost; 0 if there are none."""
        return self.lost / self.objects if self.objects else 0.0


def find_reasons(dataset: CocoDataset, files: Sequence[ImageFile]) -> Reasons:
    """Why each object is not trained on; ``files`` are those of the data set's images, in their order."""
    reasons: Reasons = {}
    for image, file in zip(dataset.images, files, strict=True):
        of_image = UNDER_SMALLEST_SIDE if min(image.height, image.width) < SMALLEST_SIDE else None
        if file.problem is not None:
            of_image = of_image or OF_FILES[file.problem]
        reasons[image.id] = [why_left_out(each, image) or of_image for each in dataset.annotations[image.id]]
    return reasons


def count_losses(dataset: CocoDataset, reasons: Reasons) -> Losses:
    """Count the lost objects, those that the reader left out among them."""
    lost = Counter(reason for of_image in reasons.values() for reason in of_image if reason is not None)
    unread = [f for f in dataset.findings if f.kind == "left out" and f.what.startswith(OBJECTS)]
    for finding in unread:
        lost[finding.what] += finding.count
    objects = sum(map(len, reasons.values())) + sum(finding.count for finding in unread)
    return Losses(objects, dict(lost.most_common()))
