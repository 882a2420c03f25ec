"""What a model, a data pipeline and a training run are made of: frozen dataclasses.

A configuration travels as JSON inside every checkpoint and exported file (:mod:`refinemask.config_json`); it is data
and is never executed.
"""

import typing
from dataclasses import dataclass, replace
from typing import Annotated

from msgspec import Meta

from refinemask.json_files import Id

STRIDE = 32
"""Heights and widths of network inputs are multiples of this, the stride of the coarsest backbone stage."""
LEVELS = 5
"""Number of the pyramid's levels, P2..P6."""
LARGEST_INPUT = 1 << 28
"""Pixels of the largest image that a network may be asked to take."""

# Ranges of what a file may ask for. They are far wider than what anybody trains, and narrower than what would exhaust
# a machine before anything can be compared with the file's tensors.
Side = Annotated[int, Meta(ge=1, le=1 << 16)]
"""Length in pixels."""
Channels = Annotated[int, Meta(ge=1, le=1 << 16)]
"""Number of channels or features."""
Blocks = Annotated[int, Meta(ge=1, le=200)]
"""Number of residual blocks of a stage."""
Layers = Annotated[int, Meta(ge=0, le=100)]
"""Number of convolutions in a row."""
Boxes = Annotated[int, Meta(ge=1, le=20_000)]
"""Number of boxes that are kept at once."""
Classes = Annotated[int, Meta(ge=1, le=100_000)]
"""Number of classes."""
Fraction = Annotated[float, Meta(ge=0, le=1)]
"""A probability, a share, an IoU or a score."""
Scale = Annotated[float, Meta(ge=1e-6, le=1e6)]
"""A positive factor, finite and not zero in float32."""
Level = Annotated[float, Meta(ge=-1e6, le=1e6)]
"""A value of a pixel."""
Value = Annotated[float, Meta(ge=-1e30, le=1e30)]
"""A value of a pixel of any type."""
Jitter = Annotated[float, Meta(ge=0.01, le=10)]
"""Factor of an image's sides."""
Weight = Annotated[float, Meta(ge=0, le=1e6)]
"""A factor that may be zero."""
Steps = Annotated[int, Meta(ge=0, le=1 << 40)]
"""Number of iterations or epochs."""
Some = Annotated[int, Meta(ge=1, le=1 << 40)]
"""Number of things of which there is at least one."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The values of an image of more than 8 bits that become 0 and 255; those between are mapped in proportion."""

    low: Value
    """Value that becomes 0, as do all below it."""
    high: Value
    """Value that becomes 255, as do all above it."""
    percentile: bool = False
    """Whether both are percentiles of each image's own values, 0 to 100, instead of values."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, expected less than high, {self.high}")
        if self.percentile and not 0 <= self.low < self.high <= 100:
            raise ValueError(f"the percentiles are {self.low} and {self.high}, expected 0 to 100")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input (RGB order throughout).

    The image is resized with its ratio kept so that it fits ``long_side`` × ``short_side``, normalised as
    ``(x - mean) / std``, and padded with zeros at the bottom and right to multiples of 32.
    """

    short_side: Side = 800
    long_side: Side = 1333
    mean: tuple[Level, Level, Level] = (123.675, 116.28, 103.53)
    std: tuple[Scale, Scale, Scale] = (58.395, 57.12, 57.375)
    window: Window | None = None
    """How images of more than 8 bits become images of 8; None takes images of 8 bits only."""

    def __post_init__(self) -> None:
        if self.short_side > self.long_side:
            raise ValueError(f"short_side is {self.short_side}, expected at most the long_side, {self.long_side}")
        if self.short_side * self.long_side > LARGEST_INPUT:
            raise ValueError(
                f"short_side is {self.short_side} and long_side {self.long_side}, expected at most {LARGEST_INPUT} "
                "pixels"
            )


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """ResNet with bottleneck blocks (torchvision's v1 layout)."""

    blocks: tuple[Blocks, Blocks, Blocks, Blocks] = (3, 4, 6, 3)
    """Number of blocks in each of the stages C2..C5."""
    width: Channels = 64
    """Channels of the stem; the stages C2..C5 have 4, 8, 16 and 32 times as many."""
    stride_in_1x1: bool = False
    """Whether a stage's stride sits in its first 1×1 convolution (Caffe's style) instead of the 3×3."""
    frozen_stages: Annotated[int, Meta(ge=-1, le=4)] = 1
    """Number of stages that, like the stem, keep their weights in training; -1 trains everything."""
    frozen_norm: bool = True
    """Whether batch norm uses its running statistics in training too; scale and shift are trained in any case."""


@dataclass(frozen=True, kw_only=True)
class RPNConfig:
    """Region proposal network over P2..P6 with one anchor scale per level."""

    anchor_scale: Scale = 8.0
    """Side of a square anchor, in strides of its level."""
    anchor_ratios: Annotated[tuple[Scale, ...], Meta(min_length=1, max_length=100)] = (0.5, 1.0, 2.0)
    candidates_per_level: Boxes = 1000
    """Number of the best boxes of each level that enter NMS."""
    training_candidates_per_level: Boxes = 2000
    proposals: Boxes = 1000
    """Number of proposals per image."""
    training_proposals: Boxes | None = None
    """Number of proposals per image in training; None is ``proposals``, the number at test time."""
    nms_iou: Fraction = 0.7

    def __post_init__(self) -> None:
        in_training = self.training_proposals or self.proposals
        for name, number, candidates in (
            ("proposals", self.proposals, "candidates_per_level"),
            ("training_proposals (or proposals)", in_training, "training_candidates_per_level"),
        ):
            if number > LEVELS * (most := getattr(self, candidates)):
                raise ValueError(
                    f"{name} is {number}, expected at most {LEVELS * most}: {LEVELS} levels have {most} candidates "
                    f"each ({candidates})"
                )


@dataclass(frozen=True, kw_only=True)
class BoxHeadConfig:
    """Two fully connected layers on 7×7 RoI features, and the selection of the final detections."""

    hidden: Channels = 1024
    delta_std: tuple[Scale, Scale, Scale, Scale] = (0.1, 0.1, 0.2, 0.2)
    """Standard deviations of (dx, dy, dw, dh), by which the target deltas are divided."""
    score_threshold: Fraction = 0.05
    nms_iou: Fraction = 0.5
    detections: Boxes = 100
    """Largest number of detections per image."""
    candidates: Boxes = 3840
    """Number of the best (RoI, class) pairs that enter the final NMS; TensorRT's top-k allows no more."""


@dataclass(frozen=True, kw_only=True)
class MaskHeadConfig:
    """Configuration of a mask head; each kind of head has a subclass, with the head's options.

    Defining the subclass is enough for :func:`refinemask.config_json.from_json`, which finds it by its ``kind``. What
    computes a kind is in ``refinemask.modeling.families``.
    """

    kind: str
    """Name of the kind in JSON; a subclass sets it."""


@dataclass(frozen=True, kw_only=True)
class FCNMaskConfig(MaskHeadConfig):
    """Mask R-CNN's head: four convolutions at 14×14, one transposed convolution, 28×28 masks."""

    kind: typing.Literal["fcn"] = "fcn"
    """Name of this head in the configuration that a checkpoint carries."""
    convs: Layers = 4
    """Number of 3×3 convolutions at 14×14."""


@dataclass(frozen=True, kw_only=True)
class RefineMaskConfig(MaskHeadConfig):
    """RefineMask's head (paper section 3): masks of 14×14, refined to 28×28, 56×56 and 112×112.

    ``original`` is the head of the released checkpoints, with the semantic mask branch; ``simple`` is the
    authors' later, faster head, without it.
    """

    kind: typing.Literal["refine"] = "refine"
    """Name of this head in the configuration that a checkpoint carries."""
    variant: typing.Literal["original", "simple"] = "original"
    """Which of the two heads."""
    instance_convs: Layers = 2
    """Number of 3×3 convolutions on each instance's features before the first stage."""
    semantic_convs: Layers = 4
    """Number of 3×3 convolutions of the semantic branch."""
    class_agnostic_last: bool = False
    """Whether the last predictor has one channel for all classes (in models of LVIS, and always in the simple head)."""


@dataclass(frozen=True, kw_only=True)
class PointRendConfig(MaskHeadConfig):
    """PointRend's heads: coarse masks of 7×7, refined at chosen points up to 224×224."""

    kind: typing.Literal["pointrend"] = "pointrend"
    """Name of this head in the configuration that a checkpoint carries."""
    hidden: Channels = 1024
    """Width of the coarse head's two fully connected layers."""


@dataclass(frozen=True, kw_only=True)
class HTCConfig(MaskHeadConfig):
    """Hybrid Task Cascade: box and mask stages in turn, and a semantic branch that both read."""

    kind: typing.Literal["htc"] = "htc"
    """Name of this head in the configuration that a checkpoint carries."""
    delta_stds: Annotated[tuple[tuple[Scale, Scale, Scale, Scale], ...], Meta(min_length=1, max_length=10)] = (
        (0.1, 0.1, 0.2, 0.2),
        (0.05, 0.05, 0.1, 0.1),
        (0.033, 0.033, 0.067, 0.067),
    )
    """Standard deviations of each stage's box deltas, in place of ``BoxHeadConfig.delta_std``."""
    convs: Layers = 4
    """Number of 3×3 convolutions of each mask stage, and of the semantic branch."""
    semantic_classes: Classes = 183
    """Number of classes that the semantic branch predicts."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A detector: ResNet → FPN → RPN → box head → mask head."""

    class_names: Annotated[tuple[str, ...], Meta(max_length=100_000)]
    category_ids: Annotated[tuple[Id, ...], Meta(max_length=100_000)]
    """The dataset's category id of each label, in label order."""
    preprocessing: Preprocessing = Preprocessing()
    backbone: BackboneConfig = BackboneConfig()
    fpn_channels: Channels = 256
    rpn: RPNConfig = RPNConfig()
    box_head: BoxHeadConfig = BoxHeadConfig()
    mask_head: MaskHeadConfig = RefineMaskConfig()

    def __post_init__(self) -> None:
        if len(self.class_names) != len(self.category_ids) or not self.class_names:
            raise ValueError(
                f"a model needs one category id per class name, found {len(self.class_names)} names "
                f"and {len(self.category_ids)} ids"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, without background."""
        return len(self.class_names)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What happens to training images beside sides and flips; all of it is off in published recipes."""

    scale_jitter: tuple[Jitter, Jitter] | None = None
    """Smallest and largest factor of an image's size, drawn evenly on a logarithmic scale; None keeps the size."""
    crop: tuple[Side, Side] | None = None
    """Largest (height, width) of a training image, in pixels of the network's input; a part is cut out at random."""
    colour: Fraction = 0.0
    """Largest relative change of brightness, contrast and saturation; the hue changes by a tenth of it."""
    rotation: Fraction = 0.0
    """Probability of a turn by 90, 180 or 270 degrees."""
    copy_paste: Fraction = 0.0
    """Probability that objects of another image are pasted in."""

    def __post_init__(self) -> None:
        if self.scale_jitter is not None and self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter is {self.scale_jitter}, expected the smaller factor first")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Training data and its augmentation."""

    annotations: str
    images: str
    format: typing.Literal["coco", "lvis"] = "coco"
    repeat_threshold: Fraction | None = None
    """Fraction of the images below which a category is rare, so that images with it are shown more often (LVIS)."""
    polygons: bool = True
    """Whether mask targets come from the annotated polygons, or from bitmaps of them as in official Mask R-CNN."""
    semantic_maps: str | None = None
    """Folder with a class map of each image (PNG of the same stem, one channel, 255 where unknown), for HTC."""
    short_sides: Annotated[tuple[Side, ...], Meta(min_length=1)] = (800,)
    """Lengths of the shorter side in pixels, one of which is drawn for each image."""
    long_side: Side = 1333
    """Largest length of the longer side in pixels."""
    horizontal_flip: Fraction = 0.5
    """Probability of a left-right flip."""
    vertical_flip: Fraction = 0.0
    """Probability of a top-bottom flip."""
    background_images: bool = False
    """Whether images without objects are trained on, as negatives."""
    crowd_as_object: bool = False
    """Whether objects that are marked as crowds (``iscrowd`` 1) are trained on as one object each."""
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation: SGD, linear warm-up, then the schedule of the learning rate."""

    epochs: Some = 12
    schedule: typing.Literal["step", "cosine"] = "step"
    """Whether the rate is divided by ten at each of ``step_epochs``, or falls to zero along half a cosine."""
    step_epochs: tuple[Steps, ...] = (8, 11)
    batch_size: Some = 16
    """Images per iteration, over all processes."""
    learning_rate: Weight = 0.02
    momentum: Fraction = 0.9
    weight_decay: Weight = 1e-4
    clip_norm: Scale | None = 35.0
    """Largest norm of the gradient; None leaves gradients as they are."""
    warmup_iterations: Steps = 500
    warmup_factor: Fraction = 0.001
    """Share of the learning rate with which the warm-up begins."""
    box_loss_weight: Weight = 2.0
    """Weight of both box losses; RefineMask's is twice Mask R-CNN's."""
    smooth_l1_beta: Weight | None = None
    """Beta of the box heads' smooth L1 loss; None is plain L1. Cityscapes and HTC use 1.0."""
    rpn_smooth_l1_beta: Weight | None = None
    """Beta of the RPN's smooth L1 loss; None is plain L1. HTC uses 1/9."""
    anchors_inside: bool = False
    """Whether anchors that cross the image's border are left out of training (HTC)."""
    rois_per_image: Some = 512
    """Number of RoIs per image that the heads are trained on."""
    positive_fraction: Fraction = 0.25
    """Largest share of positive RoIs among the RoIs of an image."""
    early_stop: Some | None = None
    """Number of evaluations without a gain in mask AP after which training ends; None trains every epoch."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0


def with_window(config: ModelConfig, window: Window | None) -> ModelConfig:
    """The configuration with another window; None leaves it as it is."""
    if window is None:
        return config
    return replace(config, preprocessing=replace(config.preprocessing, window=window))
