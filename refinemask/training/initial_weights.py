"""Weights to start a training from: a whole detector of this project, or a backbone trained on ImageNet."""

import re
from collections.abc import Mapping
from operator import attrgetter

import torchvision
from torch import Tensor, nn, strided

from refinemask.config import BackboneConfig, ModelConfig
from refinemask.files import UserError
from refinemask.finite import require_finite
from refinemask.json_files import short
from refinemask.modeling.detector import Detector
from refinemask.readable import require_readable
from refinemask.training.checkpoint import read_tensors
from refinemask.weights import FLOATS, first_of, load_detector, open_safetensors

IMAGENET = {
    (3, 4, 6, 3): torchvision.models.ResNet50_Weights.IMAGENET1K_V1,
    (3, 4, 23, 3): torchvision.models.ResNet101_Weights.IMAGENET1K_V1,
}
"""Torchvision's weights, which the official models start from, by the backbone's blocks."""
DECISIVE = (
    "backbone.stride_in_1x1",
    "preprocessing.mean",
    "preprocessing.std",
    "rpn.anchor_scale",
    "rpn.anchor_ratios",
    "category_ids",
)
"""Settings that change the meaning of weights, but not their shapes."""


def initialise(detector: Detector, source: str) -> None:
    """Load weights into a new detector.

    Args:
        detector: the new detector.
        source: ``imagenet`` for torchvision's backbone, which is downloaded once; else a file: a ``.safetensors`` of
            a detector of this project, or a backbone in torchvision's naming (``.pth`` or ``.safetensors``).

    Raises:
        UserError: the file cannot be read, does not fit the detector, or has values that are not finite.
    """
    if source == "imagenet":
        _load(detector.backbone, _download(detector.config.backbone), source)
    elif source.endswith(".safetensors") and _is_detector(source):
        given = load_detector(source)
        _require_same(given.config, detector.config, source)
        _load(detector, given.state_dict(), source)
    else:
        state = _backbone(_read(source), source)
        _require_blocks(state, detector.config.backbone, source)
        _load(detector.backbone, state, source)


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


def _require_same(found: ModelConfig, expected: ModelConfig, source: str) -> None:
    for name in DECISIVE:
        theirs, ours = attrgetter(name)(found), attrgetter(name)(expected)
        if theirs != ours:
            raise UserError(
                f"{source}: does not fit the recipe's model: its {name} is {short(theirs)}, expected {short(ours)}"
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
