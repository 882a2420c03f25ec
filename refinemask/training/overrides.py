"""What the command line changes of a recipe's data and model."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from refinemask.config import ModelConfig
from refinemask.data.reading import is_json_file, split_path
from refinemask.files import UserError
from refinemask.recipes import Recipe, ValidationData

SHORTEST, LONGEST = 32, 1 << 16
"""Smallest and largest side of the network's input in pixels."""


class _Located(TypedDict):
    annotations: str
    images: str


def with_own_data(
    recipe: Recipe, annotations: Path | None, images: Path | None, val_annotations: Path | None, val_images: Path | None
) -> Recipe:
    """The recipe with data that the command line names, in place of those under the data root.

    Own training data without own validation data are evaluated on nothing. A folder of validation images that is not
    named is the one of the training images; one that is not named either is that of the annotations.

    Raises:
        UserError: a folder of images is named without its annotations, or not named where only the format implies it.
    """
    for option, file, folder in (("", annotations, images), ("val-", val_annotations, val_images)):
        if folder is not None and file is None:
            raise UserError(f"--{option}images {folder}: needs --{option}annotations, the file that lists its images")
    if annotations is not None:
        recipe = replace(recipe, data=replace(recipe.data, **_located(annotations, images)), validation=None)
    if val_annotations is not None:
        recipe = replace(recipe, validation=ValidationData(**_located(val_annotations, val_images or images)))
    return recipe


def _located(annotations: Path, images: Path | None) -> _Located:
    """Both as absolute paths, which no data root changes."""
    if images is None and not is_json_file(annotations) and os.path.exists(split_path(annotations)[0]):
        raise UserError(
            f"{annotations}: name the folder of its images, too (--images, --val-images); "
            f"python -m refinemask.data.convert {annotations} OUT.json says which one it is"
        )
    return {"annotations": os.path.abspath(annotations), "images": os.path.abspath(images or annotations.parent)}


def with_image_size(recipe: Recipe, size: tuple[int, int]) -> Recipe:
    """The recipe with images of (short side, long side) at most, in training and afterwards.

    Raises:
        UserError: there can be no such images.
    """
    short, long = size
    written = f"--image-size is {short}x{long}"
    if not SHORTEST <= short <= long <= LONGEST:
        raise UserError(f"{written}; expected SHORTxLONG, {SHORTEST} to {LONGEST} pixels, the shorter side first")
    try:
        preprocessing = replace(recipe.model.preprocessing, short_side=short, long_side=long)
    except ValueError as error:
        raise UserError(f"{written}: {error}") from error
    return replace(
        recipe,
        model=replace(recipe.model, preprocessing=preprocessing),
        data=replace(recipe.data, short_sides=(short,), long_side=long),
    )


def raised_for_detections(before: ModelConfig, after: ModelConfig) -> list[str]:
    """What else than the number of detections is larger, in words."""
    numbers = {
        "candidates_per_level": (before.rpn.candidates_per_level, after.rpn.candidates_per_level),
        "proposals": (before.rpn.proposals, after.rpn.proposals),
        "candidates": (before.box_head.candidates, after.box_head.candidates),
    }
    return [f"{name} from {old} to {new}" for name, (old, new) in numbers.items() if new > old]


def with_frozen_backbone(model: ModelConfig) -> ModelConfig:
    """The model with a backbone whose weights, batch norm included, stay as they were loaded."""
    return replace(model, backbone=replace(model.backbone, frozen_stages=4, frozen_norm=True))
