"""Look into a data set: its annotations, its image files, and another one to compare with."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refinemask.config import ModelConfig, Window
from refinemask.data.coco import CocoDataset
from refinemask.data.findings import Finding
from refinemask.data.inspection.counted import Counted, counted
from refinemask.data.inspection.image_files import FileSummary, ImageFile, look_at_files, same_content, summarise
from refinemask.data.inspection.losses import OF_FILES, Losses, Reasons, count_losses, find_reasons
from refinemask.data.inspection.statistics import Statistics, compute_statistics
from refinemask.data.reading import read_annotations
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.nearest import nearest

TOLERATED = 0.05
"""Share of the objects that training may lose if nothing else is said."""
PUBLISHED = ModelConfig(class_names=("object",), category_ids=(1,))
"""The sizes of images, anchors and detections that the recipes for COCO have."""


@dataclass(frozen=True)
class Source:
    """What was read of a data set, object by object."""

    dataset: CocoDataset
    files: list[ImageFile]
    """Files of the data set's images, in their order."""
    reasons: Reasons
    """Why each object is not trained on."""
    window: Window | None = None
    """How images of more than 8 bits become images of 8."""


@dataclass(frozen=True)
class DatasetInspection:
    """A data set in numbers."""

    annotations: str
    """The annotation file."""
    images: str
    """The folder of its images."""
    statistics: Statistics
    losses: Losses
    files: FileSummary
    findings: tuple[Finding, ...]
    """What the reader of the annotations mended and left out."""
    source: Source
    """What the numbers are of."""


@dataclass(frozen=True)
class Comparison:
    """What the data for training and for validation have in common, and what not."""

    same_content: Counted
    """Images for validation whose file has the bytes of one for training."""
    same_name: Counted
    """Images for validation of another content that have the file name of one for training."""
    unknown_classes: Counted
    """Classes with objects for validation that training has no object of, by name."""


@dataclass(frozen=True)
class Inspection:
    """What :func:`inspect` found."""

    training: DatasetInspection
    validation: DatasetInspection | None
    comparison: Comparison | None
    """Where there are data for validation."""
    tolerated: float
    """Share of the objects that training may lose."""
    model: ModelConfig
    """How images are resized, and what shall find the objects."""
    recipe: str
    """The recipe that the model is of; empty for what the recipes for COCO have."""

    @property
    def unstartable(self) -> str:
        """Why training would end before its first iteration, in a few words; empty if it would not."""
        losses, missing = self.training.losses, self.training.files.missing
        # The file of an image without an object to train on is not asked for.
        if OF_FILES["missing"] in losses.reasons:
            images = self.training.statistics.images
            return f"{missing.count:,} of {images:,} image files are missing, the first is {missing.first}"
        return "" if losses.lost < losses.objects else "no object can be trained on"

    @property
    def passed(self) -> bool:
        """Whether training would start, and lose no more objects than are tolerated."""
        return not self.unstartable and self.training.losses.share <= self.tolerated

    @property
    def verdict(self) -> str:
        """One line on what training would use."""
        losses = self.training.losses
        used = f"{losses.objects - losses.lost:,} of {losses.objects:,} objects"
        if self.unstartable:
            return f"training would not start: {self.unstartable}"
        if not self.passed:
            return (
                f"training would lose {_percent(losses.share)} of the objects, more than the "
                f"{_percent(self.tolerated)} of --tolerate: it would use {used}"
            )
        return f"training would use {used}, and lose {_percent(losses.share)}"

    def to_json(self) -> str:
        """All numbers as JSON text."""
        sets = {"training": self.training, "validation": self.validation}
        content: dict[str, Any] = {name: _numbers(found) for name, found in sets.items() if found is not None}
        if self.comparison is not None:
            content["comparison"] = asdict(self.comparison)
        verdict = {"passed": self.passed, "verdict": self.verdict, "tolerated": self.tolerated, "recipe": self.recipe}
        return json.dumps({**verdict, **content}, indent=1)


def inspect(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    validation: str | os.PathLike[str] | None = None,
    validation_images: str | os.PathLike[str] | None = None,
    tolerated: float = TOLERATED,
    recipe: str = "",
    window: Window | None = None,
    crowd_as_object: bool = False,
    decode: bool = False,
) -> Inspection:
    """Look into a data set before training on it.

    The header of every image file is read, and the content of those that may be duplicates.

    Args:
        annotations: what training would learn from, in any format that this project reads.
        images: folder of its images.
        validation: annotations to compare with; None if there are none.
        validation_images: folder of their images; ``images`` if not given.
        tolerated: share of the objects that training may lose.
        recipe: name of the recipe to train by, which needs PyTorch; if empty, what the recipes for COCO have.
        window: how images of more than 8 bits become images of 8; None is the recipe's way, if it has one.
        crowd_as_object: whether training and validation take each crowd for one object.
        decode: whether to decode every image, too, which finds files that are damaged behind their header.

    Raises:
        UserError: a file of annotations cannot be used, a folder is missing, or there is no such recipe.
    """
    if not 0 <= tolerated <= 1:
        raise UserError(f"--tolerate is {tolerated}; expected a share from 0 to 1, such as {TOLERATED}")
    model = _model_of(recipe)
    window = window or model.preprocessing.window
    validation_images = validation_images or images
    training = _read(annotations, images, window, crowd_as_object, decode)
    other = None if validation is None else _read(validation, validation_images, window, crowd_as_object, decode)
    sources = [training, *([other] if other else [])]
    contents = same_content([file for source in sources for file in source.files])
    named = {os.path.abspath(file.path) for source in sources for file in source.files if file.path is not None}

    def inspected(source: Source, folder: str | os.PathLike[str]) -> DatasetInspection:
        return DatasetInspection(
            annotations=str(source.dataset.path),
            images=str(folder),
            statistics=compute_statistics(source.dataset, source.reasons, model),
            losses=count_losses(source.dataset, source.reasons),
            files=summarise(source.files, contents, folder, named),
            findings=tuple(source.dataset.findings),
            source=source,
        )

    found = inspected(training, images)
    compared = None if other is None else inspected(other, validation_images)
    return Inspection(
        training=found,
        validation=compared,
        comparison=None if compared is None else _compare(found, compared, contents),
        tolerated=tolerated,
        model=model,
        recipe=recipe,
    )


def _model_of(recipe: str) -> ModelConfig:
    if not recipe:
        return PUBLISHED
    with needed_by("--recipe", otherwise="leave it out for what the recipes for COCO have"):
        # It imports PyTorch.
        from refinemask.recipes import RECIPES
    if recipe not in RECIPES:
        raise UserError(f"{recipe!r} is no recipe{nearest(recipe, RECIPES)}; expected {', '.join(RECIPES)}")
    return RECIPES[recipe].model


def _read(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    window: Window | None,
    crowd_as_object: bool,
    decode: bool,
) -> Source:
    if not os.path.isdir(images):
        raise UserError(f"{images}: no such folder, expected the images of {annotations}")
    dataset = read_annotations(annotations, images, crowd_as_object=crowd_as_object)
    files = look_at_files(dataset.images, images, window, decode)
    return Source(dataset, files, find_reasons(dataset, files), window)


def _compare(training: DatasetInspection, validation: DatasetInspection, contents: dict[Path, str]) -> Comparison:
    ours, theirs = training.source.files, validation.source.files
    known = {contents.get(file.path, str(file.path)): file for file in ours if file.path is not None}
    names = {_base_name(file) for file in ours}
    same, namesakes = [], []
    for file in theirs:
        content = contents.get(file.path, str(file.path)) if file.path is not None else None
        if content in known:
            same.append(f"{file.image.file_name} (as {known[content].image.file_name})")
        elif _base_name(file) in names:
            namesakes.append(file.image.file_name)
    learnt = {each.name for each in training.statistics.classes if each.trainable}
    unknown = [each.name for each in validation.statistics.classes if each.trainable and each.name not in learnt]
    return Comparison(counted(same), counted(namesakes), counted(unknown))


def _base_name(file: ImageFile) -> str:
    return file.image.file_name.replace("\\", "/").rpartition("/")[2]


def _numbers(found: DatasetInspection) -> dict[str, Any]:
    losses = {**asdict(found.losses), "lost": found.losses.lost, "share": found.losses.share}
    return {
        "annotations": found.annotations,
        "images": found.images,
        "statistics": asdict(found.statistics),
        "losses": losses,
        "files": asdict(found.files),
        "findings": [asdict(finding) for finding in found.findings],
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
