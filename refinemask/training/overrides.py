"""What the command line changes of a recipe's data and model."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from refinemask.config import ModelConfig
from refinemask.files import UserError
from refinemask.recipes import Recipe, ValidationData

MOST_DETECTIONS = 3840
"""Largest number of detections per image: TensorRT's top-k allows no more."""
SHORTEST, LONGEST = 32, 1 << 16
"""Smallest and largest side of the network's input in pixels."""


class _Located(TypedDict):
    annotations: str
    images: str


def with_own_data(
    recipe: Recipe, annotations: Path | None, images: Path | None, val_annotations: Path | None, val_images: Path | None
) -> Recipe:
    """The recipe with data that the command line names, in place of those under the data root.

    Own training data without own validation data are evaluated on nothing. A folder of images that is not named is the
    one of the annotations.

    Raises:
        UserError: a folder of images is named without its annotations.
    """
    for option, file, folder in (("", annotations, images), ("val-", val_annotations, val_images)):
        if folder is not None and file is None:
            raise UserError(f"--{option}images {folder}: needs --{option}annotations, the file that lists its images")
    if annotations is not None:
        recipe = replace(recipe, data=replace(recipe.data, **_located(annotations, images)), validation=None)
    if val_annotations is not None:
        recipe = replace(recipe, validation=ValidationData(**_located(val_annotations, val_images)))
    return recipe


def _located(annotations: Path, images: Path | None) -> _Located:
    """Both as absolute paths, which no data root changes."""
    folder = images or (annotations if annotations.is_dir() else annotations.parent)
    return {"annotations": os.path.abspath(annotations), "images": os.path.abspath(folder)}


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


def with_detections(model: ModelConfig, count: int) -> tuple[ModelConfig, list[str]]:
    """The model with at most ``count`` detections per image, and what else had to be raised for them, in words.

    Every object needs a proposal of its own, and all objects may lie on one level of the pyramid. Training keeps its
    number of proposals.
    """
    rpn, head = model.rpn, model.box_head
    numbers = {
        "candidates_per_level": rpn.candidates_per_level,
        "proposals": rpn.proposals,
        "candidates": head.candidates,
    }
    raised = [f"{name} from {number} to {count}" for name, number in numbers.items() if number < count]
    rpn = replace(rpn, candidates_per_level=max(rpn.candidates_per_level, count))
    if rpn.proposals < count:
        rpn = replace(rpn, training_proposals=rpn.training_proposals or rpn.proposals, proposals=count)
    head = replace(head, detections=count, candidates=max(head.candidates, count))
    return replace(model, rpn=rpn, box_head=head), raised


def with_frozen_backbone(model: ModelConfig) -> ModelConfig:
    """The model with a backbone whose weights, batch norm included, stay as they were loaded."""
    return replace(model, backbone=replace(model.backbone, frozen_stages=4, frozen_norm=True))
