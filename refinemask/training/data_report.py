"""What of its data a run uses: the counts that its directory keeps in ``data.json``, and the lines that it prints."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from refinemask.data.coco import CocoDataset
from refinemask.data.trainable import CROWDS
from refinemask.data.training import TrainingCounts
from refinemask.exit_codes import printable
from refinemask.foreign import one_line

SHOWN_CLASSES, SHOWN_CHARACTERS = 10, 40
"""Classes that a line lists, and characters of each name."""


@dataclass(frozen=True, kw_only=True)
class UsedData:
    """One of a run's two sets of annotated images."""

    purpose: Literal["trained on", "evaluated on"]
    """What the set is for, as the lines say it."""
    dataset: CocoDataset
    """The annotations."""
    images: Path
    """Folder of the images' files."""
    counts: TrainingCounts
    """How many of them are used."""

    def to_json(self) -> dict[str, Any]:
        """Every count, as JSON values."""
        return {
            "annotations": str(self.dataset.path),
            "images_folder": str(self.images),
            "images": len(self.dataset.images),
            "objects": sum(map(len, self.dataset.annotations.values())),
            "images_used": self.counts.images,
            "background_images_used": self.counts.background_images,
            "objects_used": sum(self.counts.objects.values()),
            "left_out": dict(self.counts.left_out),
            "classes": [
                {"id": category, "name": name, "objects_used": self.counts.objects.get(category, 0)}
                for category, name in self.dataset.categories.items()
            ],
            "findings": [asdict(finding) for finding in self.dataset.findings],
        }

    def lines(self) -> Iterator[str]:
        """What is used and what is not, in a few lines; the reader has said what it mended and left out."""
        path = self.dataset.path
        yield (
            f"{self.purpose}: {path}: {self.counts.images} images ({self.counts.background_images} without objects), "
            f"{sum(self.counts.objects.values())} objects of {self._classes()}"
        )
        if absent := [name for category, name in self._names.items() if not self.counts.objects.get(category)]:
            yield f"not {self.purpose}: {path}: the classes without objects {_listed(absent)}"
        if self.counts.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts.left_out.items())
            yield f"not {self.purpose}: {path}: {reasons}"

    @property
    def _names(self) -> dict[int, str]:
        return {
            category: one_line(printable(name.strip()), SHOWN_CHARACTERS)
            for category, name in self.dataset.categories.items()
        }

    def _classes(self) -> str:
        names, counts = self._names, sorted(self.counts.objects.items(), key=lambda pair: -pair[1])
        shown = [f"{names[category]} {count}" for category, count in counts]
        return f"{len(shown)} classes ({_listed(shown)})" if shown else "no class"


def validation_counts(dataset: CocoDataset) -> TrainingCounts:
    """What of a data set an evaluation uses: all images, and all objects but crowds, which are ignored."""
    objects = [annotation for group in dataset.annotations.values() for annotation in group]
    crowds = sum(annotation.iscrowd for annotation in objects)
    return TrainingCounts(
        images=len(dataset.images),
        background_images=sum(not group for group in dataset.annotations.values()),
        objects=Counter(annotation.category_id for annotation in objects if not annotation.iscrowd),
        left_out={CROWDS: crowds} if crowds else {},
    )


def _listed(items: Sequence[str]) -> str:
    more = len(items) - SHOWN_CLASSES
    return ", ".join(items[:SHOWN_CLASSES]) + (f", and {more} more" if more > 0 else "")
