"""Weights to start a training from: a whole detector of this project, or a backbone trained on ImageNet."""

import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torchvision
from torch import Tensor, nn, strided

from refinemask.config import BackboneConfig, ModelConfig
from refinemask.distributed import is_main
from refinemask.files import UserError
from refinemask.finite import require_finite
from refinemask.modeling.detector import Detector
from refinemask.readable import require_readable
from refinemask.training.checkpoint import read_tensors
from refinemask.training.transfer import InitialWeights, in_short, learnt_with, transfer, with_settings
from refinemask.weights import FLOATS, first_of, load_detector, open_safetensors, read_config

IMAGENET = {
    (3, 4, 6, 3): torchvision.models.ResNet50_Weights.IMAGENET1K_V1,
    (3, 4, 23, 3): torchvision.models.ResNet101_Weights.IMAGENET1K_V1,
}
"""Torchvision's weights, which the official models start from, by the backbone's blocks."""


def adapted(model: ModelConfig, source: str | None, asked: Collection[str] = ()) -> ModelConfig:
    """The model with the settings that the weights of a detector only work with: normalisation, strides, anchors.

    Args:
        model: the model to be trained.
        source: what :func:`initialise` takes; None changes nothing, and neither does a backbone's file.
        asked: settings that stay as they are because the user chose them, such as ``rpn.anchor_scale``.

    Raises:
        UserError: the file cannot be read, or its backbone is another one than the model's.
    """
    if source is None or not _is_detector(source):
        return model
    found = read_config(source)
    _require_backbone(found.backbone, model.backbone, source)
    return with_settings(model, {k: value for k, value in learnt_with(found, model).items() if k not in asked})


def initialise(detector: Detector, source: str, recipe: ModelConfig | None = None) -> InitialWeights:
    """Load weights into a new detector, and print in the first process what was taken.

    Of a detector of this project all that fits is taken. Layers that depend on the classes are taken row by row where
    a class has the same name. The rest keeps its values.

    Args:
        detector: the new detector, of the configuration that :func:`adapted` returned.
        source: ``imagenet`` for torchvision's backbone, which is downloaded once; else a file: a ``.safetensors`` of
            a detector of this project, or a backbone in torchvision's naming (``.pth`` or ``.safetensors``).
        recipe: the configuration before :func:`adapted`, to say what has changed; None is the detector's.

    Raises:
        UserError: the file cannot be read, its backbone does not fit the detector, or it has values that are not
            finite.
    """
    taken = _initialise(detector, source, recipe or detector.config)
    if is_main():
        print(taken, file=sys.stderr)
    return taken


def _initialise(detector: Detector, source: str, recipe: ModelConfig) -> InitialWeights:
    if _is_detector(source):
        given = load_detector(source)
        _require_backbone(given.config.backbone, detector.config.backbone, source)
        return replace(
            transfer(detector, given, Path(source).name),
            settings=learnt_with(detector.config, recipe),
            other_settings=learnt_with(given.config, detector.config),
        )
    if source == "imagenet":
        state = _download(detector.config.backbone)
    else:
        state = _backbone(_read(source), source)
        _require_blocks(state, detector.config.backbone, source)
    _load(detector.backbone, state, source)
    names = detector.state_dict()
    others = [key.rpartition(".")[0] for key in names if not key.startswith("backbone.")]
    return InitialWeights(
        source=Path(source).name, tensors=len(detector.backbone.state_dict()), new=tuple(in_short(others, names))
    )


def _download(config: BackboneConfig) -> dict[str, Tensor]:
    if config.blocks not in IMAGENET:
        raise UserError(f"there are no ImageNet weights for a ResNet with blocks {config.blocks}; leave --init out")
    if config.stride_in_1x1:
        raise UserError(
            "torchvision's weights have their strides in the 3x3 convolutions, this recipe's backbone in "
            "the 1x1; give --init a file of Caffe's weights"
        )
    weights = IMAGENET[config.blocks]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except OSError as error:
        raise UserError(f"cannot download {weights.url}: {error}; give a file with --init") from error


def _is_detector(path: str) -> bool:
    if not path.endswith(".safetensors"):
        return False
    with open_safetensors(path) as file:
        return "config" in (file.metadata() or {})


def _read(path: str) -> dict[str, Tensor]:
    """The tensors of a file by name, also if they lie in it under ``state_dict`` or ``model``."""
    if path.endswith(".safetensors"):
        with open_safetensors(path) as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    require_readable(path)
    try:
        content = read_tensors(path)
    except ValueError as error:
        raise UserError(
            f"{path}: not a file of weights, or a damaged one ({error}); a checkpoint of mmdetection is converted "
            f"first: {_conversion(path)}"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise UserError(f"{path}: holds no tensors by name, expected the weights of a backbone in torchvision's naming")
    return tensors


def _backbone(state: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    """The tensors of the backbone in torchvision's naming, without the prefixes that other tools put before it."""
    state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    if any(key.startswith(("roi_head.", "neck.", "rpn_head.")) for key in state):
        raise UserError(f"{path}: a detector of mmdetection, which is converted first: {_conversion(path)}")
    return {key.removeprefix("backbone."): tensor for key, tensor in state.items()}


def _conversion(path: str) -> str:
    return f"python -m refinemask.convert {path} -o OUTPUT.safetensors, then --init OUTPUT.safetensors"


def _require_blocks(state: dict[str, Tensor], config: BackboneConfig, path: str) -> None:
    """Raise a UserError if the file is of a ResNet of another depth, whose names may well fit."""
    numbers = {match.groups() for key in state if (match := re.match(r"layer([1-4])\.(\d+)\.", key))}
    blocks = tuple(sum(stage == str(number) for stage, _ in numbers) for number in (1, 2, 3, 4))
    if not all(blocks):
        raise UserError(
            f"{path}: no ResNet in torchvision's naming (its first keys are {sorted(state)[:3]!r:.200}); expected "
            "conv1.weight, layer1.0.conv1.weight and so on"
        )
    if "layer1.0.conv3.weight" not in state:
        name = {(2, 2, 2, 2): "ResNet-18", (3, 4, 6, 3): "ResNet-34"}.get(blocks, f"ResNet of {blocks} blocks")
        raise UserError(
            f"{path}: a {name}, whose blocks have two convolutions; the recipe's model needs bottleneck blocks of "
            "three, as in ResNet-50 and ResNet-101"
        )
    if blocks != config.blocks:
        raise UserError(f"{path}: a ResNet of {blocks} blocks, expected {config.blocks} as in the recipe's model")


def _require_backbone(found: BackboneConfig, expected: BackboneConfig, source: str) -> None:
    """Raise a UserError if a detector has another backbone: without it, training would begin from nearly nothing."""
    for name in ("blocks", "width"):
        theirs, ours = getattr(found, name), getattr(expected, name)
        if theirs != ours:
            raise UserError(
                f"{source}: does not fit the recipe's model: backbone.{name} is {theirs}, expected {ours}; take a "
                "--recipe of the same backbone"
            )


def _load(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    own = module.state_dict()
    unfit = [fault for key, tensor in own.items() if (fault := _fault(key, state.get(key), tensor))]
    if unfit:
        raise UserError(f"{source}: does not fit the recipe's model: {first_of(unfit)}")
    chosen = {key: state[key].float() for key in own}
    require_finite(chosen, source)
    module.load_state_dict(chosen, strict=False)


def _fault(key: str, found: Tensor | None, own: Tensor) -> str | None:
    """What is wrong with a tensor of a file in the place of ``own``."""
    if found is None:
        return f"{key} is missing"
    if found.dtype not in FLOATS.values() or found.layout != strided or found.device.type != "cpu":
        return f"{key} is no plain tensor of floats"
    if found.shape != own.shape:
        return f"{key} is of shape {list(found.shape)[:8]}, expected {list(own.shape)}"
    return None
