"""Detectors from official checkpoints (mmdetection 2 and 3), translated key by key."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from refinemask.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig
from refinemask.files import UserError
from refinemask.finite import require_finite
from refinemask.modeling.detector import Detector
from refinemask.modeling.families import FAMILIES, family_of
from refinemask.modeling.family import OfficialLayout, official_size
from refinemask.official.classes import class_names, dataset_of, remarks_on_classes, with_categories
from refinemask.official.file import OfficialCheckpoint, read_checkpoint
from refinemask.official.other_models import first_few, other_model
from refinemask.official.settings import normalisation_of, take_over
from refinemask.official.stored_config import stored_settings
from refinemask.weights import first_of

# Official key → ours, for the parts that all families share.
_SHARED_RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.(.+)", r"backbone.\1"),
    (r"neck\.lateral_convs\.(\d)\.conv\.(.+)", r"fpn.lateral_convs.\1.\2"),
    (r"neck\.fpn_convs\.(\d)\.conv\.(.+)", r"fpn.output_convs.\1.\2"),
    (r"rpn_head\.rpn_conv\.(.+)", r"rpn.conv.\1"),
    (r"rpn_head\.rpn_cls\.(.+)", r"rpn.cls_logits.\1"),
    (r"rpn_head\.rpn_reg\.(.+)", r"rpn.bbox_deltas.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.0\.(.+)", r"box_head.fc1.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.1\.(.+)", r"box_head.fc2.\1"),
    (r"roi_head\.bbox_head\.fc_cls\.(.+)", r"box_head.cls_logits.\1"),
    (r"roi_head\.bbox_head\.fc_reg\.(.+)", r"box_head.bbox_deltas.\1"),
)
# The keys of a cascade's head are those of a single head, with the number of the stage in them.
_CASCADE_STAGE = re.compile(r"(roi_head\.(?:bbox|mask)_head)\.(\d)\.([a-z].+)")
MOST_CLASSES = 10_000
"""Classes of a model; LVIS, the data set with most, has 1203."""


@dataclass(frozen=True, kw_only=True)
class OfficialDetector:
    """A detector of an official checkpoint, and what is to be known of it."""

    detector: Detector
    """The detector in eval mode."""
    remarks: tuple[str, ...]
    """Lines that say what was taken from the file, and what was assumed."""


def detector_from_official(
    path: str | os.PathLike[str],
    config: ModelConfig | None = None,
    *,
    categories: str | os.PathLike[str] | None = None,
    ema: bool = False,
) -> OfficialDetector:
    """The detector of an official checkpoint.

    Args:
        path: the official file.
        config: the model's configuration; None recognises it by the keys and by the configuration in the file.
        categories: COCO annotations, which give each class its category id by its name.
        ema: whether to take the second set of weights, which a training with a moving average keeps.

    Raises:
        UserError: the file cannot be read, is of another model, has keys, shapes or settings that do not fit the
            detector, or weights that are not finite; or the annotations are of other categories.
    """
    checkpoint = read_checkpoint(path)
    names = class_names(checkpoint.meta)
    remarks: list[str] = []
    try:
        state = _chosen(checkpoint, ema)
        if other := other_model(state):
            raise UserError(f"is {other}; expected {_alternatives(_official_families())} on a plain ResNet with FPN")
        settings = stored_settings(checkpoint.meta)
        given = config is not None
        if config is None:
            config, remarks = _recognised(state, names, settings)
            if categories is None:
                remarks += remarks_on_classes(names, config)
        if categories is not None:
            own = config.class_names if given else names
            config = with_categories(config, categories, own)
            if own is None or len(own) != config.num_classes:
                remarks.append(
                    f"it has no class names; they and the ids are those of {categories}, in the order of ids"
                )
        detector = _detector(config, state, settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if checkpoint.averaged and not ema:
        remarks.append("it has a second set of weights, as a moving average keeps one; --ema takes that")
    return OfficialDetector(detector=detector, remarks=tuple(remarks))


def _chosen(checkpoint: OfficialCheckpoint, ema: bool) -> dict[str, Tensor]:
    if ema and not checkpoint.averaged:
        raise UserError("has no second set of weights (keys ema_…, or 'ema_state_dict'); leave out --ema")
    return checkpoint.averaged if ema else checkpoint.state


def _recognised(
    state: Mapping[str, Tensor], names: Sequence[str] | None, settings: Mapping[str, Any]
) -> tuple[ModelConfig, list[str]]:
    """The configuration that the keys and the file's own configuration give, and where it is from."""
    config = recognise(state, names)
    if settings:
        config, remark = take_over(config, settings)
        return config, [remark]
    sides = f"{config.preprocessing.long_side}x{config.preprocessing.short_side}"
    data = dataset_of(config.num_classes, names).name
    official = "official settings" if data == "custom" else f"official settings of {data}"
    return config, [
        f"it has no configuration; the {official} are assumed: {sides}, {config.box_head.detections} detections"
    ]


def _detector(config: ModelConfig, state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Detector:
    normalisation = normalisation_of(settings)
    bgr = normalisation.bgr if normalisation else None
    # Without memory, until the shapes are known to be those of the file.
    with torch.device("meta"):
        weights = _translated(Detector(config), state, bgr)
    detector = Detector(config).eval()
    detector.load_state_dict(weights, strict=False)
    return detector


def recognise(state: Mapping[str, Tensor], classes: Sequence[str] | None = None) -> ModelConfig:
    """The configuration of the model that the official keys and shapes belong to.

    Args:
        state: an official state dict.
        classes: class names from the checkpoint's metadata, for data sets other than COCO and Cityscapes.

    Raises:
        UserError: a key is missing or has no shape of a weight, or the mask head is of no known family.
    """
    cascade = "roi_head.bbox_head.0.fc_cls.weight" in state
    stem, lateral = "backbone.conv1.weight", "neck.lateral_convs.0.conv.weight"
    classifier = f"roi_head.bbox_head.{'0.' if cascade else ''}fc_cls.weight"
    for key in (stem, classifier, lateral):
        if key not in state:
            raise UserError(
                f"no key {key!r} (first keys: {first_few(sorted(state))}); expected an mmdetection checkpoint of "
                f"{_alternatives(_official_families())}"
            )
    num_classes = official_size(state, classifier) - 1
    if not 1 <= num_classes <= MOST_CLASSES:
        raise UserError(f"{classifier} is of {num_classes} classes; expected 1 to {MOST_CLASSES}")
    dataset = dataset_of(num_classes, classes)
    head, layout = _mask_head(state)
    caffe = layout.caffe_backbone
    return ModelConfig(
        class_names=dataset.class_names,
        category_ids=dataset.category_ids,
        preprocessing=replace(dataset.preprocessing, std=(1.0, 1.0, 1.0)) if caffe else dataset.preprocessing,
        backbone=BackboneConfig(blocks=_blocks(state), width=official_size(state, stem), stride_in_1x1=caffe),
        fpn_channels=official_size(state, lateral),
        box_head=BoxHeadConfig(
            hidden=official_size(state, classifier, 1),
            score_threshold=min(dataset.score_threshold, layout.score_threshold),
            detections=dataset.detections,
        ),
        mask_head=head,
    )


def translate(key: str) -> str | None:
    """Our name for an official key; None for the counters that are not kept.

    Raises:
        UserError: no rule fits the key.
    """
    if key.endswith("num_batches_tracked"):
        return None
    rules = (layout.rules for layout in _official_families().values())
    for pattern, name in chain(_SHARED_RULES, *rules):
        if match := re.fullmatch(pattern, key):
            name = re.sub(r"<(\d)\*2>", lambda m: str(int(m[1]) * 2), match.expand(name))
            return re.sub(r"<(\d)-1>", lambda m: str(int(m[1]) - 1), name)
    if match := _CASCADE_STAGE.fullmatch(key):
        single = translate(f"{match[1]}.{match[3]}")
        return single and single.replace("_head.", f"_head.stages.{match[2]}.", 1)
    raise UserError(f"unknown key {key!r}")


def load_official(detector: Detector, state: Mapping[str, Tensor]) -> None:
    """Copy an official state dict into ``detector``.

    Raises:
        UserError: keys are unknown or missing, shapes differ, or weights are not finite; the first of them are named.
    """
    detector.load_state_dict(_translated(detector, state), strict=False)


def _translated(detector: Detector, state: Mapping[str, Tensor], bgr: bool | None = None) -> dict[str, Tensor]:
    """The weights of ``detector`` in an official state dict; the detector's own are not touched.

    Args:
        detector: a detector on any device.
        state: an official state dict.
        bgr: whether the stem reads BGR; None is as in the family's official checkpoints.
    """
    family = family_of(detector.config.mask_head)
    layout = family.official
    if layout is None:
        raise UserError(f"there are no official checkpoints of {family.name}")
    ours, unknown = {}, []
    for key, tensor in state.items():
        try:
            if name := translate(key):
                ours[name] = layout.adapt(name, tensor)
        except UserError:
            unknown.append(key)
    expected = detector.state_dict()
    unknown += sorted(set(ours) - set(expected))
    missing = sorted(set(expected) - set(ours))
    if unknown or missing:
        raise UserError(f"unknown keys: {first_few(unknown)}; missing weights: {first_few(missing)}")
    wrong = [
        f"{name} is {list(ours[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected
        if ours[name].shape != expected[name].shape
    ]
    if wrong:
        raise UserError(f"shapes do not fit the model: {first_of(wrong)}")
    # As the detector will hold them: what float64 takes may be infinite in float32.
    require_finite({name: tensor.float() for name, tensor in ours.items()})
    if layout.caffe_backbone if bgr is None else bgr:
        # The stem reads BGR: with its input channels in reverse order it reads RGB.
        ours["backbone.conv1.weight"] = ours["backbone.conv1.weight"].flip(1)
    return ours


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    counts = [
        len({match[1] for key in state if (match := re.match(rf"backbone\.layer{stage}\.(\d+)\.", key))})
        for stage in (1, 2, 3, 4)
    ]
    if 0 in counts:
        raise UserError(f"lacks backbone.layer{counts.index(0) + 1}; expected the four stages of a ResNet")
    return counts[0], counts[1], counts[2], counts[3]


def _mask_head(state: Mapping[str, Tensor]) -> tuple[MaskHeadConfig, OfficialLayout]:
    for layout in _official_families().values():
        if head := layout.recognise(state):
            return head, layout
    prefix = "roi_head.mask_head."
    found = sorted({key.split(".")[2] for key in state if key.startswith(prefix)}) or "no mask head"
    owners = _alternatives(f"{name}'s" for name in _official_families())
    raise UserError(f"its mask head is none of {owners} (found: {found})")


def _official_families() -> dict[str, OfficialLayout]:
    """The families' layouts, by name."""
    return {family.name: family.official for family in FAMILIES.values() if family.official is not None}


def _alternatives(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
