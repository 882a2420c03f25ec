"""The classes of an official checkpoint: their names, and the ids that annotations give them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from refinemask.config import ModelConfig
from refinemask.data.categories import CITYSCAPES, COCO, LVIS, Dataset, read_categories
from refinemask.files import UserError
from refinemask.official.other_models import first_few, printable


def class_names(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The class names in a checkpoint's metadata, of mmdetection 2 or 3; None if there are none."""
    inner = meta.get("dataset_meta")
    for holder in (inner if isinstance(inner, dict) else {}, meta):
        for key, names in holder.items():
            if isinstance(key, str) and key.lower() == "classes":
                # A tuple of one name that lacks its comma is a string.
                names = [names] if isinstance(names, str) else names
                if isinstance(names, list | tuple) and names and all(isinstance(name, str | int) for name in names):
                    return tuple(str(name) for name in names)
    return None


def dataset_of(num_classes: int, names: Sequence[str] | None) -> Dataset:
    """The data set of a number of classes, with names that may be known; one of the paper's, or one of its own."""
    if names is not None and len(names) != num_classes:
        names = None
    for dataset in (COCO, CITYSCAPES, LVIS):
        if len(dataset.class_names) == num_classes and (dataset is LVIS or names is None or _agree(dataset, names)):
            break
    else:
        dataset = Dataset(
            name="custom",
            class_names=tuple(f"class {label}" for label in range(num_classes)),
            category_ids=tuple(range(1, num_classes + 1)),
        )
    if dataset not in (COCO, CITYSCAPES) and names is not None:
        return replace(dataset, class_names=tuple(names))
    return dataset


def _agree(dataset: Dataset, names: Sequence[str]) -> bool:
    """Whether most names are the data set's; a few have been spelt in several ways."""
    same = sum(own == name for own, name in zip(dataset.class_names, names, strict=True))
    return 2 * same > len(names)


def remarks_on_classes(names: Sequence[str] | None, config: ModelConfig) -> list[str]:
    """Lines on what is assumed of classes.

    Args:
        names: the names in the checkpoint, perhaps of another number of classes.
        config: the model's configuration, with the names and category ids that were assumed.
    """
    if names is None or len(names) != config.num_classes:
        found = "no class names" if names is None else f"{len(names)} class names for {config.num_classes} classes"
        return [
            f"it has {found}; assumed are {first_few(config.class_names)}: --categories ANNOTATIONS.json gives others"
        ]
    if dataset_of(config.num_classes, names).name == "custom":
        return [
            f"its classes get the category ids 1 to {config.num_classes}: --categories ANNOTATIONS.json gives others"
        ]
    return []


def with_categories(config: ModelConfig, path: str | os.PathLike[str], names: Sequence[str] | None) -> ModelConfig:
    """``config`` with the class names and category ids of COCO annotations.

    Args:
        config: the model's configuration.
        path: the annotations.
        names: the model's own class names, which must be those of the annotations. Without them, or with another number
            of them, the classes get names and ids in the order of the ids.

    Raises:
        UserError: the annotations cannot be read, or have other categories.
    """
    categories = read_categories(path)
    if names is None or len(names) != config.num_classes:
        if len(categories) != config.num_classes:
            raise UserError(
                f"has {config.num_classes} classes without names, but {path} has {len(categories)} categories"
            )
        return replace(config, class_names=tuple(categories.values()), category_ids=tuple(categories))
    ids = {name: identifier for identifier, name in categories.items()}
    missing = [name for name in names if name not in ids]
    extra = [name for name in ids if name not in names]
    if missing or extra:
        raise UserError(
            f"{path} has no category for these classes of the model: {first_few(missing)}; and these besides: "
            f"{first_few(extra)}; expected the categories that the model was trained on"
        )
    for listed in (list(categories.values()), list(names)):
        if twice := [name for name, count in Counter(listed).items() if count > 1]:
            raise UserError(
                f"the name {printable(twice[0])!r} is that of several categories, which names cannot tell apart"
            )
    return replace(config, class_names=tuple(names), category_ids=tuple(ids[name] for name in names))
