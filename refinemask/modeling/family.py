"""What a family of detectors is: all that the rest of the project must know about a kind of mask head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from refinemask.config import BoxHeadConfig, MaskHeadConfig
from refinemask.files import UserError
from refinemask.modeling.box_head import ROI_SIZE, BoxHead, DetectedBoxes
from refinemask.modeling.rpn import Proposals
from refinemask.ops import pool
from refinemask.targets.rois import Positives, Supervision, sample_rois


class BoxPredictor(Protocol):
    """What a detector asks of its box head."""

    def detect(self, features: list[Tensor], proposals: Proposals, image_sizes: Tensor) -> DetectedBoxes:
        """Select the detections among the proposals."""


class MaskPredictor(Protocol):
    """What a detector asks of its mask head."""

    def image_maps(self, features: list[Tensor]) -> list[Tensor]:
        """What :meth:`predict` makes of the features whatever the RoIs are; maps [B, C, h, w], perhaps none."""

    def predict(
        self, features: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, M, M] of RoIs [R, 5] with labels [R].

        Args:
            image_maps: what :meth:`image_maps` made of the same features; None computes what is needed.
        """


class LearningMaskHead(MaskPredictor, Protocol):
    """What :func:`two_stage_losses` asks of a mask head."""

    def losses(self, features: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The weighted loss terms, by name."""


def two_stage_box_head(channels: int, num_classes: int, config: BoxHeadConfig, mask_head: MaskHeadConfig) -> BoxHead:
    """The plain box head, whatever the mask head."""
    return BoxHead(channels, num_classes, config)


def two_stage_losses(
    context: nn.Module,
    box_head: BoxHead,
    mask_head: LearningMaskHead,
    pyramid: list[Tensor],
    proposals: list[Tensor],
    supervision: Supervision,
) -> dict[str, Tensor]:
    """The weighted losses of a box head on sampled RoIs, and of a mask head on the positive ones.

    Args:
        pyramid: P2..P6.
        proposals: [N, 4] per image.
    """
    features = context(pyramid)
    sampled = sample_rois(proposals, supervision)
    predictions = box_head(pool(features[:4], sampled.rois, ROI_SIZE))
    losses = box_head.losses(predictions, sampled, supervision.config)
    return losses | mask_head.losses(features, sampled.positives, supervision)


WIDEST = 1 << 16
"""Channels or classes of a layer that is still believed."""


def official_size(state: Mapping[str, Tensor], key: str, dimension: int = 0) -> int:
    """A dimension of an official weight.

    Raises:
        UserError: there is no such weight, or it has no such dimension, or one that no layer has.
    """
    if key not in state:
        raise UserError(f"lacks {key}; expected all weights of the model")
    shape = list(state[key].shape)
    if len(shape) <= dimension or not 1 <= shape[dimension] <= WIDEST:
        raise UserError(f"{key} has the shape {shape}, which is none of a layer's weights")
    return shape[dimension]


@dataclass(frozen=True, kw_only=True)
class OfficialLayout:
    """What is particular to a family in official checkpoints (mmdetection 2.3)."""

    recognise: Callable[[Mapping[str, Tensor]], MaskHeadConfig | None]
    """Configuration of the mask head in a state dict; None if the state dict is of another family."""
    rules: tuple[tuple[str, str], ...]
    """Pairs of an official key's pattern and our name, in which ``<3*2>`` stands for 6 and ``<3-1>`` for 2."""
    adapt: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
    """Conversion of an official tensor to our layout, given our name and the tensor."""
    caffe_backbone: bool = False
    """Whether the backbone is of Caffe's style: strides in 1×1 convolutions, input in BGR and not scaled."""
    score_threshold: float = 1.0
    """Highest score threshold of detections; the data set may lower it."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """All that depends on a detector's kind of mask head."""

    name: str
    """Name of the models in tables and messages."""
    mask_head: Callable[[int, int, Any], MaskPredictor]
    """Builder of the mask head from the pyramid's channels, the number of classes and the mask head's configuration."""
    box_head: Callable[[int, int, BoxHeadConfig, Any], BoxPredictor] = two_stage_box_head
    """Builder of the box head from channels, number of classes, box head's and mask head's configuration."""
    # ``nn.Identity`` takes any arguments, and uses none.
    context: Callable[[int, Any], nn.Module] = nn.Identity
    """Builder, from channels and the mask head's configuration, of a module that turns P2..P6 into what heads read."""
    losses: Callable[..., dict[str, Tensor]] = two_stage_losses
    """Loss terms of context, box head and mask head, with the arguments of :func:`two_stage_losses`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`refinemask.config.TrainConfig` that recipes set, whatever the data set."""
    polygons: bool = False
    """Whether recipes take mask targets from polygons, not from bitmaps of them."""
    semantic_maps: bool = False
    """Whether models learn from class maps of whole images too."""
    variant: Callable[[Any], str] | None = None
    """Name of the head that a configuration chooses, in a family of several heads."""
    official: OfficialLayout | None = None
    """Conversion of official checkpoints; None if the family has none."""

    def head_name(self, config: MaskHeadConfig) -> str:
        """Name of the mask head: the variant in a family of several heads, otherwise the family."""
        return self.variant(config) if self.variant else self.name
