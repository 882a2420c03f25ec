"""The exact rearrangements of RefineMask's head, each as a pair of computations with one result."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.savings.catalogue import SAVINGS, Saving
from benchmarks.savings.plain_head import logits_of_labels
from refinemask.config import BackboneConfig
from refinemask.modeling.blocks import bias_of, joint_conv, upsample_features
from refinemask.modeling.exported import fold_batch_norm
from refinemask.modeling.refine_mask_head import STAGE_SIZES, RefineMaskHead, RefinementStage
from refinemask.modeling.resnet import ResNet
from refinemask.modeling.roi_window import compute_near_rois
from refinemask.ops import label_rows, pool, project

Compute = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Pair:
    """A saving, off and on."""

    saving: Saving
    off: Compute
    on: Compute

    @classmethod
    def of(cls, name: str, off: Compute, on: Compute) -> "Pair":
        """The two sides of the saving of this name."""
        return cls(SAVINGS[name], off, on)


@dataclass(frozen=True)
class Scene:
    """The inputs of a head."""

    pyramid: list[Tensor]
    """Features P2 to P5."""
    rois: Tensor
    """[R, 5] (image, x1, y1, x2, y2) in input pixels."""
    labels: Tensor
    """[R] class indices."""

    @classmethod
    def random(cls, height: int, width: int, boxes: Tensor, num_classes: int, channels: int = 256) -> "Scene":
        """Seeded random features for boxes [R, 4]."""
        generator = torch.Generator().manual_seed(0)
        pyramid = [
            torch.randn(1, channels, height >> level, width >> level, generator=generator) for level in (2, 3, 4, 5)
        ]
        labels = torch.randint(num_classes, (len(boxes),), generator=generator)
        return cls(pyramid, with_image_index(boxes), labels)


def with_image_index(boxes: Tensor) -> Tensor:
    """Boxes [R, 4] of the only image as RoIs [R, 5]."""
    return torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)


def pairs(head: RefineMaskHead, scene: Scene, natural: Scene, image: Tensor) -> list[Pair]:
    """All pairs that differ on a CPU.

    Args:
        head: the weights of both sides.
        scene: as many RoIs as the model can give.
        natural: the same map with as many RoIs as a picture has objects.
        image: [1, 3, H, W], for the backbone.
    """
    semantic_map = head.semantic_convs(scene.pyramid[0])
    stages = [_StageInputs.random(stage, size, scene) for stage, size in zip(head.stages, STAGE_SIZES, strict=True)]
    return [
        *_before_fusing(head, scene, stages),
        *_on_the_map(head, scene, natural, semantic_map),
        _dilated(stages),
        _folded(image),
    ]


@dataclass(frozen=True)
class _StageInputs:
    stage: RefinementStage
    coarse: Tensor
    """[R, c - 2, s/2, s/2] features after ReLU."""
    features: Tensor
    """[R, c, s, s] features, upsampled and with masks."""
    pooled: Tensor
    """[R, c, s, s] semantic features."""
    masks: Tensor
    """[R, 2, s, s] probabilities."""

    @classmethod
    def random(cls, stage: RefinementStage, size: int, scene: Scene) -> "_StageInputs":
        count, c = len(scene.rois), stage.channels
        coarse = torch.randn(count, c - 2, size // 2, size // 2).relu()
        masks = torch.rand(count, 2, size, size)
        features = torch.cat([upsample_features(coarse), masks], dim=1)
        return cls(stage, coarse, features, torch.randn(count, c, size, size).relu(), masks)


def _before_fusing(head: RefineMaskHead, scene: Scene, stages: list[_StageInputs]) -> list[Pair]:
    predictors, labels = head.instance_logits, scene.labels
    last = torch.randn(len(labels), predictors[3].in_channels - 2, STAGE_SIZES[2], STAGE_SIZES[2]).relu()
    masks = torch.rand(len(labels), 2, 2 * STAGE_SIZES[2], 2 * STAGE_SIZES[2])
    features = [*(stage.features for stage in stages), torch.cat([upsample_features(last), masks], dim=1)]
    coarse = [*(stage.coarse for stage in stages[1:]), last]
    rows = [label_rows(each.weight.flatten(1), bias_of(each), labels)[0][..., :-2] for each in predictors[1:]]
    fuses = [stage.stage.fuse.weight[:, : stage.stage.channels - 2] for stage in stages[1:]]

    def one_class() -> list[Tensor]:
        return [predictor(x, labels) for predictor, x in zip(predictors, features, strict=True)]

    def all_classes() -> list[Tensor]:
        return [logits_of_labels(predictor, x, labels) for predictor, x in zip(predictors, features, strict=True)]

    def after() -> list[Tensor]:
        upsampled = [upsample_features(x) for x in coarse]
        logits = [project(x, row) for x, row in zip(upsampled, rows, strict=True)]
        return logits + [F.conv2d(x, fuse) for x, fuse in zip(upsampled, fuses, strict=False)]

    def before() -> list[Tensor]:
        logits = [upsample_features(project(x, row)) for x, row in zip(coarse, rows, strict=True)]
        return logits + [upsample_features(F.conv2d(x, fuse)) for x, fuse in zip(coarse, fuses, strict=False)]

    def concatenated() -> list[Tensor]:
        return [each.stage.fuse(torch.cat([each.features, each.pooled, each.masks], dim=1)) for each in stages]

    return [
        Pair.of("logits of the label only", all_classes, one_class),
        Pair.of(
            "no second ReLU after upsampling",
            lambda: [F.relu(upsample_features(x)) for x in coarse],
            lambda: [upsample_features(x) for x in coarse],
        ),
        Pair.of("1×1 convolutions before upsampling", after, before),
        Pair.of(
            "fuse convolution split, no concatenation", concatenated, lambda: [_fuse_split(each) for each in stages]
        ),
    ]


def _fuse_split(each: _StageInputs) -> Tensor:
    c, fuse = each.stage.channels, each.stage.fuse
    of_features, of_pooled, of_masks = fuse.weight.split([c, c, 2], dim=1)
    fused = F.conv2d(each.pooled, of_pooled, fuse.bias) + F.conv2d(each.masks, of_masks)
    return fused + F.conv2d(each.features, of_features)


def _on_the_map(head: RefineMaskHead, scene: Scene, natural: Scene, semantic_map: Tensor) -> list[Pair]:
    p2, rois = scene.pyramid[0], scene.rois
    heads = [*(stage.semantic_transform_in for stage in head.stages), head.semantic_logits]
    last, transformed = head.stages[2], F.relu(head.stages[2].semantic_transform_in(semantic_map))
    probability = head.semantic_logits(semantic_map).sigmoid()
    semantic = head.semantic_convs[0]
    assert isinstance(semantic, nn.Conv2d)
    rpn = nn.Conv2d(semantic.in_channels, semantic.out_channels, 3, padding=1)

    def pool_at_56(features: Tensor, rois: Tensor = rois) -> Tensor:
        return pool([features], rois, STAGE_SIZES[2])

    def pooled_then_convolved() -> list[Tensor]:
        return [last.semantic_transform_out(pool_at_56(transformed))]

    def convolved_then_pooled() -> list[Tensor]:
        conv = last.semantic_transform_out
        return [pool_at_56(F.conv2d(transformed, conv.weight)) + bias_of(conv)[:, None, None]]

    def rpn_and_semantic() -> list[Tensor]:
        weight, bias = torch.cat([rpn.weight, semantic.weight]), torch.cat([bias_of(rpn), bias_of(semantic)])
        return list(F.conv2d(p2, weight, bias, padding=1).split(rpn.out_channels, dim=1))

    def near() -> list[Tensor]:
        semantic, _ = compute_near_rois(head.semantic_branch, p2, natural.rois, head.semantic_reach)
        return [pool_at_56(semantic, natural.rois)]

    def refine(count: int) -> list[Tensor]:
        output = head(scene.pyramid, scene.rois[:count], scene.labels[:count])
        return [logits[: len(natural.rois)] for logits in output.stage_logits]

    return [
        Pair.of(
            "one convolution for all that read the semantic map",
            lambda: [conv(semantic_map) for conv in heads],
            lambda: joint_conv(semantic_map, heads).split([conv.out_channels for conv in heads], dim=1),
        ),
        Pair.of("stage 3's 1×1 convolution before RoIAlign", pooled_then_convolved, convolved_then_pooled),
        Pair.of(
            "semantic mask and features pooled as one map",
            lambda: [pool_at_56(transformed), pool_at_56(probability)],
            lambda: pool_at_56(torch.cat([transformed, probability], dim=1)).split([last.channels, 1], dim=1),
        ),
        Pair.of("only detections, not padding", lambda: refine(len(rois)), lambda: refine(len(natural.rois))),
        Pair.of(
            "semantic branch only near detections",
            lambda: [pool_at_56(head.semantic_branch(p2)[0], natural.rois)],
            near,
        ),
        Pair.of(
            "RPN's and the semantic branch's first convolution as one",
            lambda: [rpn(p2), semantic(p2)],
            rpn_and_semantic,
        ),
    ]


def _dilated(stages: list[_StageInputs]) -> Pair:
    """The input gathered once for all taps of the three branches, then one batched product."""

    def gathered(each: _StageInputs) -> Tensor:
        convs = [conv for conv in each.stage.fusion.dilated_convs if isinstance(conv, nn.Conv2d)]
        weight = torch.stack([conv.weight.flatten(1) for conv in convs])
        bias = torch.stack([bias_of(conv) for conv in convs])[:, :, None]
        results = []
        for x in each.features.split(1):
            taps = torch.cat([F.unfold(x, 3, conv.dilation, conv.dilation) for conv in convs])
            results.append(torch.baddbmm(bias, weight, taps).relu().sum(0).unflatten(1, x.shape[2:]))
        return torch.stack(results)

    def separate(each: _StageInputs) -> Tensor:
        first, *others = (F.relu(conv(each.features)) for conv in each.stage.fusion.dilated_convs)
        return sum(others, start=first)

    return Pair.of(
        "three dilated convolutions as one product",
        lambda: [separate(each) for each in stages],
        lambda: [gathered(each) for each in stages],
    )


def _folded(image: Tensor) -> Pair:
    norm = ResNet(BackboneConfig()).eval()
    folded = copy.deepcopy(norm)
    fold_batch_norm(folded)
    return Pair.of("batch norm folded into convolutions", lambda: norm(image), lambda: folded(image))
