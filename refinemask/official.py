"""Detectors from official checkpoints (mmdetection 2.3 layout), translated key by key."""

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refinemask.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig
from refinemask.data.categories import CITYSCAPES, COCO, LVIS, Dataset
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.modeling.families import FAMILIES, family_of
from refinemask.modeling.family import OfficialLayout

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
_CASCADE_STAGE = re.compile(r"(roi_head\.(?:bbox|mask)_head)\.(\d)\.(.+)")
# Configuration types that old checkpoints hold in their metadata. Inert types stand in for them: none is imported.
_CONFIG_DICTS = ("addict.addict.Dict", "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict")
_CONFIG_OBJECTS = ("mmcv.utils.config.Config", "mmengine.config.config.Config")


class _Inert:
    """Stands in for a configuration object of another library."""

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict (without ``module.`` prefixes) and metadata of an official checkpoint; executes nothing in it.

    Raises:
        UserError: the file is missing or truncated, holds foreign code, or is no checkpoint at all.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(_stand_ins()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = re.search(r"GLOBAL (\S+)", str(error))
        found = f"holds foreign code ({reason[1]})" if reason else "is no PyTorch checkpoint, or a damaged one"
        raise UserError(f"{path}: {found}; expected tensors and plain metadata, nothing was loaded") from error
    # Arbitrary bytes can make the unpickler raise any exception.
    except Exception as error:
        raise UserError(
            f"{path}: truncated, or no PyTorch checkpoint ({type(error).__name__}); expected an official .pth file, "
            "download it again"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path}: holds no state dict; expected a dict of tensors, or one under 'state_dict'")
    meta = content.get("meta") if "state_dict" in content else None
    return {key.removeprefix("module."): v for key, v in state.items()}, meta if isinstance(meta, dict) else {}


def _stand_ins() -> list[Any]:
    return [(OrderedDict, name) for name in _CONFIG_DICTS] + [(_Inert, name) for name in _CONFIG_OBJECTS]


def detector_from_official(path: str | os.PathLike[str], config: ModelConfig | None = None) -> Detector:
    """The detector of an official checkpoint, in eval mode.

    Args:
        path: the official file.
        config: the model's configuration; None recognises it by the keys.

    Raises:
        UserError: the file cannot be read, is of another model, or has keys or shapes that do not fit the detector.
    """
    state, meta = read_checkpoint(path)
    try:
        detector = Detector(config or recognise(state, meta.get("CLASSES"))).eval()
        load_official(detector, state)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return detector


def recognise(state: Mapping[str, Tensor], classes: Any = None) -> ModelConfig:
    """The configuration of the model that the official keys and shapes belong to.

    Args:
        state: an official state dict.
        classes: class names from the checkpoint's metadata, for data sets other than COCO and Cityscapes.

    Raises:
        UserError: a key is missing, or the mask head is of no known family.
    """
    cascade = "roi_head.bbox_head.0.fc_cls.weight" in state
    classifier = f"roi_head.bbox_head.{'0.' if cascade else ''}fc_cls.weight"
    for key in ("backbone.conv1.weight", classifier, "neck.lateral_convs.0.conv.weight"):
        if key not in state:
            raise UserError(
                f"no key {key!r} (first keys: {sorted(state)[:3]}); expected an mmdetection checkpoint of "
                f"{_alternatives(_official_families())}"
            )
    dataset = _dataset(state[classifier].shape[0] - 1, classes)
    head, layout = _mask_head(state)
    caffe = layout.caffe_backbone
    return ModelConfig(
        class_names=dataset.class_names,
        category_ids=dataset.category_ids,
        preprocessing=replace(dataset.preprocessing, std=(1.0, 1.0, 1.0)) if caffe else dataset.preprocessing,
        backbone=BackboneConfig(
            blocks=_blocks(state), width=state["backbone.conv1.weight"].shape[0], stride_in_1x1=caffe
        ),
        fpn_channels=state["neck.lateral_convs.0.conv.weight"].shape[0],
        box_head=BoxHeadConfig(
            hidden=state[classifier].shape[1],
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
        UserError: keys are unknown or missing, or shapes differ; all of them are named.
    """
    family = family_of(detector.config.mask_head)
    layout = family.official
    if layout is None:
        raise UserError(f"there are no official checkpoints of {family.name}")
    ours, unknown = {}, []
    for key, tensor in state.items():
        try:
            if name := translate(key):
                ours[name] = _adapt(name, tensor, layout)
        except UserError:
            unknown.append(key)
    expected = detector.state_dict()
    unknown += sorted(set(ours) - set(expected))
    missing = sorted(set(expected) - set(ours))
    if unknown or missing:
        raise UserError(f"unknown keys: {_list(unknown)}; missing weights: {_list(missing)}")
    wrong = [
        f"{name} is {list(ours[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected
        if ours[name].shape != expected[name].shape
    ]
    if wrong:
        raise UserError(f"shapes do not fit the model: {_list(wrong)}")
    detector.load_state_dict(ours, strict=False)


def _adapt(name: str, tensor: Tensor, layout: OfficialLayout) -> Tensor:
    """An official tensor in our layout.

    A Caffe-style backbone reads BGR: with the stem's input channels in reverse order it reads RGB.
    """
    if layout.caffe_backbone and name == "backbone.conv1.weight":
        return tensor.flip(1)
    return layout.adapt(name, tensor)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    counts = [
        len({match[1] for key in state if (match := re.match(rf"backbone\.layer{stage}\.(\d+)\.", key))})
        for stage in (1, 2, 3, 4)
    ]
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


def _dataset(num_classes: int, classes: Any) -> Dataset:
    names = classes if isinstance(classes, list | tuple) and len(classes) == num_classes else None
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
        return replace(dataset, class_names=tuple(str(name) for name in names))
    return dataset


def _agree(dataset: Dataset, names: Sequence[Any]) -> bool:
    """Whether most names are the data set's; a few have been spelt in several ways."""
    same = sum(own == str(name) for own, name in zip(dataset.class_names, names, strict=True))
    return 2 * same > len(names)
