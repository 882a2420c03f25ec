"""Weights of one detector for another: all that fits, and the rows of classes that both know by the same name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from refinemask.config import ModelConfig
from refinemask.files import UserError
from refinemask.json_files import checked, read_json, short
from refinemask.modeling.detector import Detector
from refinemask.modeling.families import family_of

MOST_NAMES = 8
"""Largest number of names that a printed line lists."""


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """What the weights that a run began from were taken from."""

    source: str
    """``imagenet``, or the name of the file."""
    tensors: int
    """Number of tensors that were taken whole."""
    class_tensors: int = 0
    """Number of tensors of which only the rows of known classes were taken."""
    classes: tuple[str, ...] = ()
    """Classes of the run that the file knows by name."""
    new_classes: tuple[str, ...] = ()
    """Classes of the run that the file does not know, whose rows were drawn anew."""
    new: tuple[str, ...] = ()
    """Parts and layers of which nothing fitted, and which were drawn anew."""
    settings: Mapping[str, Any] | None = None
    """Settings of the file's model that replaced the recipe's, because the weights were learnt with them."""
    other_settings: Mapping[str, Any] | None = None
    """Settings that the file's model was learnt with, and that this run was asked to have otherwise."""

    def __str__(self) -> str:
        facts = [f"{self.tensors} tensors taken"]
        if self.class_tensors:
            facts.append(f"{self.class_tensors} taken row by row: {_listed('classes', self.classes)} by name")
            facts.append(_listed("new classes", self.new_classes))
        if self.new:
            facts.append(f"drawn anew: {_first(self.new)}")
        for verb, settings in (("taken over", self.settings), ("otherwise in the file", self.other_settings)):
            facts += [f"{verb}: {name} {short(value)}" for name, value in (settings or {}).items()]
        return f"{self.source}: {'; '.join(facts)}"


@dataclass(frozen=True)
class _Recorded:
    initial_weights: InitialWeights | None = None


def recorded(recipe: Path) -> InitialWeights | None:
    """What the ``recipe.json`` of a run says of its initial weights; None if they were random, or nothing says it.

    Raises:
        UserError: the file cannot be read, or is malformed.
    """
    if not recipe.is_file():
        return None
    expected = "the recipe of a training run"
    content = read_json(recipe, expected)
    try:
        return checked(content, _Recorded).initial_weights
    except ValueError as error:
        raise UserError(f"{recipe}: {error}; expected {expected}") from error


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} {_first(names)}" if names else f"no {what}"


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


class ClassAxis(NamedTuple):
    """A dimension of a tensor whose size grows with the number of classes.

    Along the first dimension, that of a layer's outputs, the classes come before the others (the background). Along
    another one, that of inputs, they come after the others (the features).
    """

    first: bool
    """Whether it is the first dimension."""
    each: int
    """Places of each class."""
    others: int
    """Places that belong to no class."""

    def size(self, classes: int) -> int:
        """The dimension's size for so many classes."""
        return classes * self.each + self.others

    def places(self, labels: Sequence[int], classes: int) -> Tensor:
        """The places of these of ``classes`` classes, class by class, and behind them those of no class."""
        start, others = (0, classes * self.each) if self.first else (self.others, 0)
        own = [start + label * self.each + place for label in labels for place in range(self.each)]
        return torch.tensor([*own, *range(others, others + self.others)], dtype=torch.int64)


Axes = dict[int, ClassAxis]
"""The dimensions of a tensor that depend on the classes."""


def class_axes(config: ModelConfig) -> dict[str, Axes]:
    """By the name of each of a detector's tensors, how its dimensions depend on the classes.

    No list of layers is needed: the shapes of the same detector with one more class tell.
    """
    names, ids = (*config.class_names, "another"), (*config.category_ids, 0)
    fewer, more = _shapes(config), _shapes(replace(config, class_names=names, category_ids=ids))
    return {key: _class_axes(shape, more[key], config.num_classes) for key, shape in fewer.items()}


def _class_axes(fewer: torch.Size, more: torch.Size, classes: int) -> Axes:
    pairs = enumerate(zip(fewer, more, strict=True))
    return {axis: ClassAxis(axis == 0, b - a, a - classes * (b - a)) for axis, (a, b) in pairs if a != b}


def _shapes(config: ModelConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: tensor.shape for key, tensor in Detector(config).state_dict().items()}


def shared_classes(ours: Sequence[str], theirs: Sequence[str]) -> dict[int, int]:
    """Our labels that they know by name, and their label of each; case and surrounding spaces do not count."""
    if tuple(ours) == tuple(theirs):
        return {label: label for label in range(len(ours))}
    exact = {name: label for label, name in reversed([*enumerate(theirs)])}
    alike = {_plain(name): label for label, name in reversed([*enumerate(theirs)])}
    found = {label: exact.get(name, alike.get(_plain(name))) for label, name in enumerate(ours)}
    return {label: other for label, other in found.items() if other is not None}


def _plain(name: str) -> str:
    return name.strip().casefold()


def transfer(target: Detector, given: Detector, source: str) -> InitialWeights:
    """Take over all weights that fit, in place; what does not keeps the values that it has.

    A layer is taken if all its tensors fit. Mask heads are taken from the same kind of mask head only, whatever the
    names and shapes of their layers.

    Args:
        target: the detector that gets weights.
        given: the detector that they are taken from.
        source: name of its file.
    """
    shared = shared_classes(target.config.class_names, given.config.class_names)
    whole = len(shared) == len(given.config.class_names) and all(ours == theirs for ours, theirs in shared.items())
    axes = class_axes(target.config)
    own, found = target.state_dict(), given.state_dict()
    foreign = _foreign_parts(target.config, given.config)
    new, taken = [], {}
    for layer, group in groupby(own, key=lambda key: key.rpartition(".")[0]):
        keys = [*group]
        if layer.partition(".")[0] in foreign or not all(_fits(key, own, found, axes, given.config) for key in keys):
            new.append(layer)
        else:
            taken.update({key: axes[key] for key in keys})
    for key, of_classes in taken.items():
        if of_classes and not (whole and own[key].shape == found[key].shape):
            _take_rows(own[key], found[key], of_classes, shared, (target.config.num_classes, given.config.num_classes))
        else:
            own[key].copy_(found[key])
    rows = 0 if target.config.class_names == given.config.class_names else sum(map(bool, taken.values()))
    names = target.config.class_names
    return InitialWeights(
        source=source,
        tensors=len(taken) - rows,
        class_tensors=rows,
        classes=tuple(names[label] for label in shared) if rows else (),
        new_classes=tuple(name for label, name in enumerate(names) if label not in shared) if rows else (),
        new=tuple(in_short(new, own)),
    )


def _foreign_parts(ours: ModelConfig, theirs: ModelConfig) -> set[str]:
    """Parts of the detector that are of another kind, so that equal names and shapes would mean nothing."""
    a, b = family_of(ours.mask_head), family_of(theirs.mask_head)
    same = {
        "mask_head": (a.mask_head, a.head_name(ours.mask_head)) == (b.mask_head, b.head_name(theirs.mask_head)),
        "context": a.context == b.context,
        "box_head": a.box_head == b.box_head,
    }
    return {part for part, is_same in same.items() if not is_same}


def _fits(
    key: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor], axes: Mapping[str, Axes], given: ModelConfig
) -> bool:
    if key not in found:
        return False
    expected = list(own[key].shape)
    for axis, of_classes in axes[key].items():
        expected[axis] = of_classes.size(given.num_classes)
    return list(found[key].shape) == expected


def _take_rows(own: Tensor, found: Tensor, axes: Axes, shared: Mapping[int, int], classes: tuple[int, int]) -> None:
    """Copy what belongs to shared classes or to none, in place; ``classes`` is how many both detectors have."""
    ours, theirs = [], []
    for axis, size in enumerate(own.shape):
        of_classes = axes.get(axis)
        every = torch.arange(size)
        ours.append(every if of_classes is None else of_classes.places([*shared], classes[0]))
        theirs.append(every if of_classes is None else of_classes.places([*shared.values()], classes[1]))
    own[_grid(ours)] = found[_grid(theirs)]


def _grid(places: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Indices of every combination of places, one entry for each dimension."""
    count = len(places)
    return tuple(each.view([-1 if axis == own else 1 for axis in range(count)]) for own, each in enumerate(places))


def in_short(layers: Sequence[str], every: Sequence[str] | Mapping[str, Tensor]) -> list[str]:
    """The layers by name, or by the name of their part where they are all of its layers.

    Args:
        layers: names of layers, such as ``fpn.lateral_convs.0``.
        every: names of all tensors of the detector.
    """
    whole = {key.partition(".")[0] for key in every} - {
        key.partition(".")[0] for key in every if key.rpartition(".")[0] not in {*layers}
    }
    return [*dict.fromkeys(part if (part := layer.partition(".")[0]) in whole else layer for layer in layers)]


LEARNT_WITH = {
    "preprocessing.mean": (),
    "preprocessing.std": (),
    "preprocessing.window": (),
    "backbone.stride_in_1x1": (),
    "rpn.anchor_scale": ("fpn_channels",),
    "rpn.anchor_ratios": ("fpn_channels",),
    "box_head.delta_std": ("fpn_channels", "box_head.hidden"),
    "mask_head.delta_stds": ("fpn_channels", "box_head.hidden"),
}
"""Settings that change the meaning of weights, but not their shapes; those behind are equal where the weights fit."""


def learnt_with(theirs: ModelConfig, ours: ModelConfig) -> dict[str, Any]:
    """Values of a model's settings that its weights only work with, and that are others in our model."""
    differing = {}
    for name, conditions in LEARNT_WITH.items():
        part, field = name.split(".")
        both = getattr(theirs, part), getattr(ours, part)
        fits = all(attrgetter(condition)(theirs) == attrgetter(condition)(ours) for condition in conditions)
        if fits and type(both[0]) is type(both[1]) and hasattr(both[0], field):
            value = getattr(both[0], field)
            # Weights that know no window work with any.
            if value is not None and value != getattr(both[1], field):
                differing[name] = value
    return differing


def with_settings(model: ModelConfig, settings: Mapping[str, Any]) -> ModelConfig:
    """The configuration with other values of settings, by names such as ``rpn.anchor_scale``."""
    for name, value in settings.items():
        part, field = name.split(".")
        model = replace(model, **{part: replace(getattr(model, part), **{field: value})})
    return model
