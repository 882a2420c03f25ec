"""Weights to start a training from: a whole detector of this project, or a backbone trained on ImageNet."""

from operator import attrgetter
from pathlib import Path

import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from refinemask.config import BackboneConfig, ModelConfig
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training.checkpoint import read_tensors
from refinemask.weights import load_detector, read_metadata

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
        UserError: the file cannot be read, or does not fit the detector.
    """
    if source == "imagenet":
        _load(detector.backbone, _download(detector.config.backbone), source)
    elif source.endswith(".safetensors") and _is_detector(source):
        given = load_detector(source)
        _load(detector, given.state_dict(), source)
        _require_same(given.config, detector.config, source)
    else:
        _load(detector.backbone, _read(source), source)


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
    try:
        read_metadata(path)
    except UserError:
        return False
    return True


def _read(path: str) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.endswith(".safetensors"):
            return {key: tensor.float() for key, tensor in load_file(path).items()}
        return dict(read_tensors(path))
    except (SafetensorError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a file of weights, or a damaged one ({error})") from error


def _require_same(found: ModelConfig, expected: ModelConfig, source: str) -> None:
    for name in DECISIVE:
        theirs, ours = attrgetter(name)(found), attrgetter(name)(expected)
        if theirs != ours:
            raise UserError(f"{source}: does not fit the recipe's model: its {name} is {theirs}, expected {ours}")


def _load(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    own = module.state_dict()
    unfit = [key for key, tensor in own.items() if key not in state or state[key].shape != tensor.shape]
    if unfit:
        raise UserError(
            f"{source}: does not fit the recipe's model: {len(unfit)} of its {len(own)} tensors are missing "
            f"or of another shape, the first is {unfit[0]}"
        )
    module.load_state_dict({key: state[key] for key in own}, strict=False)
