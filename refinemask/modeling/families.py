"""The table of families.

A new mask head is its configuration (a subclass of :class:`refinemask.config.MaskHeadConfig`), its modules, and an
entry in :data:`FAMILIES`. A head of this project has its configuration in :mod:`refinemask.config`; one of your own may
have all three in a module of yours, which makes its entry when it is imported (docs/extending/mask-head.md).
"""

from collections.abc import Mapping
from operator import attrgetter

from torch import Tensor

from refinemask.config import FCNMaskConfig, HTCConfig, MaskHeadConfig, PointRendConfig, RefineMaskConfig
from refinemask.files import UserError
from refinemask.modeling.cascade import CascadeBoxHead, CascadeMaskHead
from refinemask.modeling.cascade_losses import cascade_losses
from refinemask.modeling.family import Family, MaskPredictor, OfficialLayout, official_size
from refinemask.modeling.fcn_mask_head import FCNMaskHead
from refinemask.modeling.point_head import PointRendHead
from refinemask.modeling.refine_mask_head import RefineMaskHead
from refinemask.modeling.semantic_head import SemanticHead
from refinemask.modeling.simple_refine_mask_head import SimpleRefineMaskHead


def family_of(mask_head: MaskHeadConfig) -> Family:
    """The family of a mask head's configuration.

    Raises:
        UserError: the table has no entry for it.
    """
    if type(mask_head) not in FAMILIES:
        raise UserError(
            f"{type(mask_head).__name__}: no family of mask heads has this configuration; "
            "enter it in refinemask.modeling.families.FAMILIES (docs/extending/mask-head.md)"
        )
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
        last = official_size(state, head + "final_instance_logits.weight")
        first = official_size(state, head + "stages.0.instance_logits.weight")
        return RefineMaskConfig(class_agnostic_last=last == 1 and first > 1)
    if head + "stage_instance_logits.0.weight" in state:
        return RefineMaskConfig(variant="simple", class_agnostic_last=True)
    return None


def _recognise_fcn(state: Mapping[str, Tensor]) -> FCNMaskConfig | None:
    return FCNMaskConfig() if "roi_head.mask_head.conv_logits.weight" in state else None


def _recognise_point_rend(state: Mapping[str, Tensor]) -> PointRendConfig | None:
    if "roi_head.point_head.fc_logits.weight" not in state:
        return None
    return PointRendConfig(hidden=official_size(state, "roi_head.mask_head.fcs.0.weight"))


def _recognise_htc(state: Mapping[str, Tensor]) -> HTCConfig | None:
    logits = "roi_head.semantic_head.conv_logits.weight"
    return HTCConfig(semantic_classes=official_size(state, logits)) if logits in state else None


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
"""The families, by the type of the mask head's configuration."""
