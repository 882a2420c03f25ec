"""Official checkpoints (mmdetection 2.3 layout, key by key) as detectors of ours."""

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refinemask.config import (
    BackboneConfig,
    BoxHeadConfig,
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    ModelConfig,
    PointRendConfig,
    RefineMaskConfig,
)
from refinemask.data.categories import CITYSCAPES, COCO, LVIS, Dataset
from refinemask.files import UserError
from refinemask.modeling.detector import Detector

_MASK = r"roi_head\.mask_head\."
# Official key → ours. Convolutions followed by ReLU sit at the even places of our sequences.
_RULES: tuple[tuple[str, str], ...] = (
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
    (_MASK + r"(instance|semantic)_convs\.(\d)\.conv\.(.+)", r"mask_head.\1_convs.<\2*2>.\3"),
    (_MASK + r"semantic_logits\.(.+)", r"mask_head.semantic_logits.\1"),
    (_MASK + r"final_instance_logits\.(.+)", r"mask_head.instance_logits.3.\1"),
    (_MASK + r"stage_instance_logits\.(\d)\.(.+)", r"mask_head.instance_logits.\1.\2"),
    (_MASK + r"stages\.(\d)\.instance_logits\.(.+)", r"mask_head.instance_logits.\1.\2"),
    (_MASK + r"stages\.(\d)\.(semantic_transform_(?:in|out))\.(.+)", r"mask_head.stages.\1.\2.\3"),
    (_MASK + r"stages\.(\d)\.fuse_conv\.0\.(.+)", r"mask_head.stages.\1.fuse.\2"),
    (
        _MASK + r"stages\.(\d)\.fuse_conv\.1\.dilation_conv_(\d)\.conv\.(.+)",
        r"mask_head.stages.\1.fusion.dilated_convs.<\2-1>.\3",
    ),
    (_MASK + r"stages\.(\d)\.fuse_conv\.1\.merge_conv\.conv\.(.+)", r"mask_head.stages.\1.fusion.merge.\2"),
    (_MASK + r"stages\.(\d)\.fuse_transform_out\.(.+)", r"mask_head.stages.\1.transform_out.\2"),
    (_MASK + r"convs\.(\d)\.conv\.(.+)", r"mask_head.convs.\1.\2"),
    (_MASK + r"upsample\.(.+)", r"mask_head.upsample.\1"),
    (_MASK + r"conv_logits\.(.+)", r"mask_head.predictor.\1"),
    (_MASK + r"downsample_conv\.conv\.(.+)", r"mask_head.coarse_head.downsample.\1"),
    (_MASK + r"fcs\.0\.(.+)", r"mask_head.coarse_head.fc1.\1"),
    (_MASK + r"fcs\.1\.(.+)", r"mask_head.coarse_head.fc2.\1"),
    (_MASK + r"fc_logits\.(.+)", r"mask_head.coarse_head.logits.\1"),
    (r"roi_head\.point_head\.fcs\.0\.conv\.(.+)", r"mask_head.point_head.fc1.\1"),
    (r"roi_head\.point_head\.fcs\.1\.conv\.(.+)", r"mask_head.point_head.fc2.\1"),
    (r"roi_head\.point_head\.fcs\.2\.conv\.(.+)", r"mask_head.point_head.fc3.\1"),
    (r"roi_head\.point_head\.fc_logits\.(.+)", r"mask_head.point_head.predictor.\1"),
    (_MASK + r"(\d)\.conv_res\.conv\.(.+)", r"mask_head.flow.<\1-1>.\2"),
    (r"roi_head\.semantic_head\.lateral_convs\.(\d)\.conv\.(.+)", r"context.lateral_convs.\1.\2"),
    (r"roi_head\.semantic_head\.convs\.(\d)\.conv\.(.+)", r"context.convs.<\1*2>.\2"),
    (r"roi_head\.semantic_head\.conv_embedding\.conv\.(.+)", r"context.embedding.\1"),
    (r"roi_head\.semantic_head\.conv_logits\.(.+)", r"context.predictor.\1"),
)
_CASCADE_STAGE = re.compile(r"(roi_head\.(?:bbox|mask)_head)\.(\d)\.(.+)")
# Configuration types that old checkpoints hold in their metadata. Inert types take their place; none is imported.
_CONFIG_DICTS = ("addict.addict.Dict", "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict")
_CONFIG_OBJECTS = ("mmcv.utils.config.Config", "mmengine.config.config.Config")


class _Inert:
    """Stands in for a configuration object of another library."""

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict (without ``module.`` prefixes) and metadata of an official checkpoint; executes nothing in it.

    Raises:
        UserError: missing, truncated, holding foreign code, or no checkpoint at all.
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
    # Arbitrary bytes make the unpickler raise whatever they happen to spell.
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


def detector_from_official(path: str | os.PathLike[str]) -> Detector:
    """The detector of an official checkpoint, in eval mode, recognised by its keys.

    Raises:
        UserError: the file cannot be read, is of another model, or has keys or shapes that have no place.
    """
    state, meta = read_checkpoint(path)
    try:
        config = recognise(state, meta.get("CLASSES"))
        detector = Detector(config).eval()
        load_official(detector, state)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return detector


def recognise(state: Mapping[str, Tensor], classes: Any = None) -> ModelConfig:
    """The configuration of the model that the official keys and shapes belong to.

    Args:
        classes: class names from the checkpoint's metadata, for datasets other than COCO and Cityscapes.
    """
    cascade = "roi_head.bbox_head.0.fc_cls.weight" in state
    classifier = f"roi_head.bbox_head.{'0.' if cascade else ''}fc_cls.weight"
    for key in ("backbone.conv1.weight", classifier, "neck.lateral_convs.0.conv.weight"):
        if key not in state:
            raise UserError(
                f"no key {key!r} (first keys: {sorted(state)[:3]}); expected an mmdetection checkpoint of RefineMask, "
                "Mask R-CNN, PointRend or HTC"
            )
    dataset = _dataset(state[classifier].shape[0] - 1, classes)
    head = _mask_head(state)
    caffe = isinstance(head, PointRendConfig)
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
            score_threshold=min(dataset.score_threshold, 0.001) if cascade else dataset.score_threshold,
            detections=dataset.detections,
        ),
        mask_head=head,
    )


def translate(key: str) -> str | None:
    """Our name for an official key; None for the counters that are not kept.

    Raises:
        UserError: the key has no place.
    """
    if key.endswith("num_batches_tracked"):
        return None
    for pattern, name in _RULES:
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
        UserError: a key has no place on either side, or a shape differs; every such key is named.
    """
    ours, unknown = {}, []
    for key, tensor in state.items():
        try:
            if name := translate(key):
                ours[name] = _adapt(name, tensor, detector.config)
        except UserError:
            unknown.append(key)
    expected = detector.state_dict()
    unknown += sorted(set(ours) - set(expected))
    missing = sorted(set(expected) - set(ours))
    if unknown or missing:
        raise UserError(f"keys without a place: {_list(unknown)}; weights the file lacks: {_list(missing)}")
    wrong = [
        f"{name} is {list(ours[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected
        if ours[name].shape != expected[name].shape
    ]
    if wrong:
        raise UserError(f"shapes do not fit the recognised model: {_list(wrong)}")
    detector.load_state_dict(ours, strict=False)


def _adapt(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """An official tensor in our layout; only PointRend's differ.

    Its point head consists of one-dimensional convolutions, ours of linear layers. Its only official configurations
    have a Caffe-style backbone, which reads BGR: with the stem's input channels turned round it reads RGB.
    """
    if not isinstance(config.mask_head, PointRendConfig):
        return tensor
    if name == "backbone.conv1.weight":
        return tensor.flip(1)
    return tensor.squeeze(2) if name.startswith("mask_head.point_head.") and tensor.dim() == 3 else tensor


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, int, int, int]:
    counts = [
        len({match[1] for key in state if (match := re.match(rf"backbone\.layer{stage}\.(\d+)\.", key))})
        for stage in (1, 2, 3, 4)
    ]
    return counts[0], counts[1], counts[2], counts[3]


def _mask_head(state: Mapping[str, Tensor]) -> MaskHeadConfig:
    head = "roi_head.mask_head."
    if head + "final_instance_logits.weight" in state:
        last, first = state[head + "final_instance_logits.weight"], state[head + "stages.0.instance_logits.weight"]
        return RefineMaskConfig(class_agnostic_last=last.shape[0] == 1 and first.shape[0] > 1)
    if head + "stage_instance_logits.0.weight" in state:
        return RefineMaskConfig(variant="simple", class_agnostic_last=True)
    if head + "conv_logits.weight" in state:
        return FCNMaskConfig()
    if "roi_head.point_head.fc_logits.weight" in state:
        return PointRendConfig(hidden=state[head + "fcs.0.weight"].shape[0])
    if "roi_head.semantic_head.conv_logits.weight" in state:
        return HTCConfig(semantic_classes=state["roi_head.semantic_head.conv_logits.weight"].shape[0])
    found = sorted({key.split(".")[2] for key in state if key.startswith(head)}) or "no mask head"
    raise UserError(f"its mask head is none of RefineMask's, Mask R-CNN's, PointRend's or HTC's (found: {found})")


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
