"""The families of detectors: in one table, all that depends on the kind of mask head.

A new mask head is its configuration (a dataclass in :mod:`refinemask.config`, named in the union ``MaskHeadConfig``
there), its modules, and an entry in :data:`FAMILIES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from torch import Tensor, nn

from refinemask.config import (
    BoxHeadConfig,
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    PointRendConfig,
    RefineMaskConfig,
)
from refinemask.modeling.box_head import ROI_SIZE, BoxHead, DetectedBoxes
from refinemask.modeling.cascade import CascadeBoxHead, CascadeMaskHead
from refinemask.modeling.cascade_losses import cascade_losses
from refinemask.modeling.fcn_mask_head import FCNMaskHead
from refinemask.modeling.point_head import PointRendHead
from refinemask.modeling.refine_mask_head import RefineMaskHead
from refinemask.modeling.rpn import Proposals
from refinemask.modeling.semantic_head import SemanticHead
from refinemask.modeling.simple_refine_mask_head import SimpleRefineMaskHead
from refinemask.ops import pool
from refinemask.targets.rois import Positives, Supervision, sample_rois


class BoxPredictor(Protocol):
    """What a detector asks of its box head."""

    def detect(self, features: list[Tensor], proposals: Proposals, image_sizes: Tensor) -> DetectedBoxes:
        """The detections among the proposals."""


class MaskPredictor(Protocol):
    """What a detector asks of its mask head."""

    def predict(self, features: list[Tensor], rois: Tensor, labels: Tensor) -> Tensor:
        """Mask probabilities [R, M, M] of RoIs [R, 5] with labels [R]."""


class LearningMaskHead(MaskPredictor, Protocol):
    """What :func:`two_stage_losses` asks of a mask head."""

    def losses(self, features: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The weighted loss terms, by name."""


def two_stage_losses(
    context: nn.Module,
    box_head: BoxHead,
    mask_head: LearningMaskHead,
    pyramid: list[Tensor],
    proposals: list[Tensor],
    supervision: Supervision,
) -> dict[str, Tensor]:
    """The weighted losses of a box head and, on the positive ones of its RoIs, of a mask head.

    Args:
        pyramid: P2..P6.
        proposals: [N, 4] per image.
    """
    features = context(pyramid)
    sampled = sample_rois(proposals, supervision)
    predictions = box_head(pool(features[:4], sampled.rois, ROI_SIZE))
    losses = box_head.losses(predictions, sampled, supervision.config)
    return losses | mask_head.losses(features, sampled.positives, supervision)


@dataclass(frozen=True, kw_only=True)
class OfficialLayout:
    """How the official code (mmdetection 2.3) stores a family's models, beside what all models have in common."""

    recognise: Callable[[Mapping[str, Tensor]], MaskHeadConfig | None]
    """Configuration of the mask head in a state dict; None where it is not this family's."""
    rules: tuple[tuple[str, str], ...]
    """Pairs of an official key's pattern and our name, in which ``<3*2>`` stands for 6 and ``<3-1>`` for 2."""
    adapt: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
    """An official tensor in our layout, by our name."""
    caffe_backbone: bool = False
    """Whether the backbone is of Caffe's style: strides in 1×1 convolutions, input in BGR and not scaled."""
    score_threshold: float = 1.0
    """The models' threshold of detections' scores, where the data set's is not lower."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a kind of mask head brings with it.

    The first three fields build modules. Their arguments are the pyramid's channels, the number of classes and the
    box head's configuration (where listed), and last the mask head's configuration.
    """

    name: str
    """Name of the models in tables and messages."""
    mask_head: Callable[[int, int, Any], MaskPredictor]
    box_head: Callable[[int, int, BoxHeadConfig, Any], BoxPredictor] = lambda channels, num_classes, config, _: BoxHead(
        channels, num_classes, config
    )
    context: Callable[[int, Any], nn.Module] = nn.Identity
    """Module that makes the list of maps that the heads read of the pyramid."""
    losses: Callable[..., dict[str, Tensor]] = two_stage_losses
    """Loss terms of context, box head and mask head; the arguments are those of :func:`two_stage_losses`."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`refinemask.config.TrainConfig` that recipes set, whatever the data set."""
    polygons: bool = False
    """Whether recipes take mask targets from polygons as they are."""
    semantic_maps: bool = False
    """Whether models learn from class maps of whole images too."""
    variant: Callable[[Any], str] | None = None
    """Name of the head that a configuration chooses, in a family of several heads."""
    official: OfficialLayout | None = None
    """None where there are no official models."""

    def head_name(self, config: MaskHeadConfig) -> str:
        """The mask head's name: its variant's in a family of several, else the family's."""
        return self.variant(config) if self.variant else self.name


def family_of(mask_head: MaskHeadConfig) -> Family:
    """The family of a mask head's configuration."""
    return FAMILIES[type(mask_head)]


def _refine_mask_head(channels: int, num_classes: int, config: RefineMaskConfig) -> MaskPredictor:
    if config.variant == "simple":
        return SimpleRefineMaskHead(channels, num_classes, config)
    return RefineMaskHead(channels, num_classes, config)


_MASK = r"roi_head\.mask_head\."
_SEMANTIC = r"roi_head\.semantic_head\."
_POINT = r"roi_head\.point_head\."


def _recognise_refine_mask(state: Mapping[str, Tensor]) -> RefineMaskConfig | None:
    head = "roi_head.mask_head."
    if head + "final_instance_logits.weight" in state:
        last, first = state[head + "final_instance_logits.weight"], state[head + "stages.0.instance_logits.weight"]
        return RefineMaskConfig(class_agnostic_last=last.shape[0] == 1 and first.shape[0] > 1)
    if head + "stage_instance_logits.0.weight" in state:
        return RefineMaskConfig(variant="simple", class_agnostic_last=True)
    return None


def _recognise_fcn(state: Mapping[str, Tensor]) -> FCNMaskConfig | None:
    return FCNMaskConfig() if "roi_head.mask_head.conv_logits.weight" in state else None


def _recognise_point_rend(state: Mapping[str, Tensor]) -> PointRendConfig | None:
    if "roi_head.point_head.fc_logits.weight" not in state:
        return None
    return PointRendConfig(hidden=state["roi_head.mask_head.fcs.0.weight"].shape[0])


def _recognise_htc(state: Mapping[str, Tensor]) -> HTCConfig | None:
    logits = state.get("roi_head.semantic_head.conv_logits.weight")
    return None if logits is None else HTCConfig(semantic_classes=logits.shape[0])


def _linear_point_head(name: str, tensor: Tensor) -> Tensor:
    """The official point head consists of one-dimensional convolutions, ours of linear layers."""
    return tensor.squeeze(2) if name.startswith("mask_head.point_head.") and tensor.dim() == 3 else tensor


# The defaults of TrainConfig are RefineMask's: box losses of twice the weight, and clipped gradients.
_MASK_RCNN_TRAINING = {"box_loss_weight": 1.0, "clip_norm": None}

FAMILIES: dict[type, Family] = {
    RefineMaskConfig: Family(
        name="RefineMask",
        mask_head=_refine_mask_head,
        polygons=True,
        variant=attrgetter("variant"),
        official=OfficialLayout(
            recognise=_recognise_refine_mask,
            rules=(
                # Convolutions followed by ReLU sit at the even places of our sequences.
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
            ),
        ),
    ),
    FCNMaskConfig: Family(
        name="Mask R-CNN",
        mask_head=FCNMaskHead,
        training=_MASK_RCNN_TRAINING,
        official=OfficialLayout(
            recognise=_recognise_fcn,
            rules=(
                (_MASK + r"convs\.(\d)\.conv\.(.+)", r"mask_head.convs.\1.\2"),
                (_MASK + r"upsample\.(.+)", r"mask_head.upsample.\1"),
                (_MASK + r"conv_logits\.(.+)", r"mask_head.predictor.\1"),
            ),
        ),
    ),
    PointRendConfig: Family(
        name="PointRend",
        mask_head=PointRendHead,
        training=_MASK_RCNN_TRAINING,
        official=OfficialLayout(
            recognise=_recognise_point_rend,
            rules=(
                (_MASK + r"downsample_conv\.conv\.(.+)", r"mask_head.coarse_head.downsample.\1"),
                (_MASK + r"fcs\.0\.(.+)", r"mask_head.coarse_head.fc1.\1"),
                (_MASK + r"fcs\.1\.(.+)", r"mask_head.coarse_head.fc2.\1"),
                (_MASK + r"fc_logits\.(.+)", r"mask_head.coarse_head.logits.\1"),
                (_POINT + r"fcs\.0\.conv\.(.+)", r"mask_head.point_head.fc1.\1"),
                (_POINT + r"fcs\.1\.conv\.(.+)", r"mask_head.point_head.fc2.\1"),
                (_POINT + r"fcs\.2\.conv\.(.+)", r"mask_head.point_head.fc3.\1"),
                (_POINT + r"fc_logits\.(.+)", r"mask_head.point_head.predictor.\1"),
            ),
            adapt=_linear_point_head,
            caffe_backbone=True,
        ),
    ),
    HTCConfig: Family(
        name="HTC",
        mask_head=CascadeMaskHead,
        box_head=CascadeBoxHead,
        context=SemanticHead,
        losses=cascade_losses,
        training={**_MASK_RCNN_TRAINING, "smooth_l1_beta": 1.0, "rpn_smooth_l1_beta": 1 / 9, "anchors_inside": True},
        semantic_maps=True,
        official=OfficialLayout(
            recognise=_recognise_htc,
            rules=(
                (_MASK + r"(\d)\.conv_res\.conv\.(.+)", r"mask_head.flow.<\1-1>.\2"),
                (_SEMANTIC + r"lateral_convs\.(\d)\.conv\.(.+)", r"context.lateral_convs.\1.\2"),
                (_SEMANTIC + r"convs\.(\d)\.conv\.(.+)", r"context.convs.<\1*2>.\2"),
                (_SEMANTIC + r"conv_embedding\.conv\.(.+)", r"context.embedding.\1"),
                (_SEMANTIC + r"conv_logits\.(.+)", r"context.predictor.\1"),
            ),
            score_threshold=0.001,
        ),
    ),
}
