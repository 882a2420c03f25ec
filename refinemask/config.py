"""What a model, a data pipeline and a training run are made of: frozen dataclasses.

A configuration travels as JSON inside every checkpoint and exported file; it is data and is never executed.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

STRIDE = 32
"""Heights and widths of network inputs are multiples of this, the stride of the coarsest backbone stage."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input (RGB order throughout).

    The image is resized with its ratio kept so that it fits ``long_side`` × ``short_side``, normalised as
    ``(x - mean) / std``, and padded with zeros at the bottom and right to multiples of 32.
    """

    short_side: int = 800
    long_side: int = 1333
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """ResNet with bottleneck blocks (torchvision's v1 layout)."""

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Number of blocks in each of the stages C2..C5."""
    width: int = 64
    """Channels of the stem; the stages C2..C5 have 4, 8, 16 and 32 times as many."""
    stride_in_1x1: bool = False
    """Whether a stage's stride sits in its first 1×1 convolution (Caffe's style) instead of the 3×3."""
    frozen_stages: int = 1
    """Number of stages that, like the stem, keep their weights in training; -1 trains everything."""
    frozen_norm: bool = True
    """Whether batch norm uses its running statistics in training too; scale and shift are trained in any case."""


@dataclass(frozen=True, kw_only=True)
class RPNConfig:
    """Region proposal network over P2..P6 with one anchor scale per level."""

    anchor_scale: float = 8.0
    """Side of a square anchor, in strides of its level."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    candidates_per_level: int = 1000
    """Number of the best boxes of each level that enter NMS."""
    training_candidates_per_level: int = 2000
    proposals: int = 1000
    """Number of proposals per image."""
    training_proposals: int | None = None
    """Number of proposals per image in training; None is ``proposals``, the number at test time."""
    nms_iou: float = 0.7


@dataclass(frozen=True, kw_only=True)
class BoxHeadConfig:
    """Two fully connected layers on 7×7 RoI features, and the selection of the final detections."""

    hidden: int = 1024
    delta_std: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    """Standard deviations of (dx, dy, dw, dh), by which the target deltas are divided."""
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    detections: int = 100
    """Largest number of detections per image."""
    candidates: int = 3840
    """Number of the best (RoI, class) pairs that enter the final NMS; TensorRT's top-k allows no more."""


@dataclass(frozen=True, kw_only=True)
class MaskHeadConfig:
    """Configuration of a mask head; each kind of head has a subclass, with the head's options.

    Defining the subclass is enough for :func:`from_json`, which finds it by its ``kind``. What computes a kind is in
    ``refinemask.modeling.families``.
    """

    kind: str
    """Name of the kind in JSON; a subclass sets it."""


@dataclass(frozen=True, kw_only=True)
class FCNMaskConfig(MaskHeadConfig):
    """Mask R-CNN's head: four convolutions at 14×14, one transposed convolution, 28×28 masks."""

    kind: typing.Literal["fcn"] = "fcn"
    """Name of this head in the configuration that a checkpoint carries."""
    convs: int = 4
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
    instance_convs: int = 2
    """Number of 3×3 convolutions on each instance's features before the first stage."""
    semantic_convs: int = 4
    """Number of 3×3 convolutions of the semantic branch."""
    class_agnostic_last: bool = False
    """Whether the last predictor has one channel for all classes (in models of LVIS, and always in the simple head)."""


@dataclass(frozen=True, kw_only=True)
class PointRendConfig(MaskHeadConfig):
    """PointRend's heads: coarse masks of 7×7, refined at chosen points up to 224×224."""

    kind: typing.Literal["pointrend"] = "pointrend"
    """Name of this head in the configuration that a checkpoint carries."""
    hidden: int = 1024
    """Width of the coarse head's two fully connected layers."""


@dataclass(frozen=True, kw_only=True)
class HTCConfig(MaskHeadConfig):
    """Hybrid Task Cascade: box and mask stages in turn, and a semantic branch that both read."""

    kind: typing.Literal["htc"] = "htc"
    """Name of this head in the configuration that a checkpoint carries."""
    delta_stds: tuple[tuple[float, float, float, float], ...] = (
        (0.1, 0.1, 0.2, 0.2),
        (0.05, 0.05, 0.1, 0.1),
        (0.033, 0.033, 0.067, 0.067),
    )
    """Standard deviations of each stage's box deltas, in place of ``BoxHeadConfig.delta_std``."""
    convs: int = 4
    """Number of 3×3 convolutions of each mask stage, and of the semantic branch."""
    semantic_classes: int = 183
    """Number of classes that the semantic branch predicts."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A detector: ResNet → FPN → RPN → box head → mask head."""

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    """The dataset's category id of each label, in label order."""
    preprocessing: Preprocessing = Preprocessing()
    backbone: BackboneConfig = BackboneConfig()
    fpn_channels: int = 256
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
class DataConfig:
    """Training data and its augmentation."""

    annotations: str
    images: str
    format: typing.Literal["coco", "lvis"] = "coco"
    repeat_threshold: float | None = None
    """Fraction of the images below which a category is rare, so that images with it are shown more often (LVIS)."""
    polygons: bool = True
    """Whether mask targets come from the annotated polygons, or from bitmaps of them as in official Mask R-CNN."""
    semantic_maps: str | None = None
    """Folder with a class map of each image (PNG of the same stem, one channel, 255 where unknown), for HTC."""
    short_sides: tuple[int, ...] = (800,)
    """Lengths of the shorter side in pixels, one of which is drawn for each image."""
    long_side: int = 1333
    """Largest length of the longer side in pixels."""
    horizontal_flip: float = 0.5
    """Probability of a left-right flip."""
    vertical_flip: float = 0.0
    """Probability of a top-bottom flip."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation: SGD, linear warm-up, learning rate divided by ten at each step."""

    epochs: int = 12
    step_epochs: tuple[int, ...] = (8, 11)
    batch_size: int = 16
    """Images per iteration, over all processes."""
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float | None = 35.0
    """Largest norm of the gradient; None leaves gradients as they are."""
    warmup_iterations: int = 500
    warmup_factor: float = 0.001
    """Share of the learning rate with which the warm-up begins."""
    box_loss_weight: float = 2.0
    """Weight of both box losses; RefineMask's is twice Mask R-CNN's."""
    smooth_l1_beta: float | None = None
    """Beta of the box heads' smooth L1 loss; None is plain L1. Cityscapes and HTC use 1.0."""
    rpn_smooth_l1_beta: float | None = None
    """Beta of the RPN's smooth L1 loss; None is plain L1. HTC uses 1/9."""
    anchors_inside: bool = False
    """Whether anchors that cross the image's border are left out of training (HTC)."""
    rois_per_image: int = 512
    """Number of RoIs per image that the heads are trained on."""
    positive_fraction: float = 0.25
    """Largest share of positive RoIs among the RoIs of an image."""
    seed: int = 0


def to_json(config: Any) -> str:
    """The configuration as JSON text, keys in declaration order."""
    return json.dumps(dataclasses.asdict(config))


def from_json(cls: type[T], text: str) -> T:
    """Rebuild a configuration written by :func:`to_json`.

    Raises:
        ValueError: the text is no JSON object, or a field is unknown, missing or of the wrong kind.
    """
    try:
        return _build(cls, json.loads(text))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"not a {cls.__name__}: {error}") from error


def _build(kind: Any, value: Any) -> Any:
    if kind is MaskHeadConfig:
        kind = _mask_head_of_kind(value["kind"])
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is tuple:
        return tuple(_build(typing.get_args(kind)[0], part) for part in value)
    return value


def _mask_head_of_kind(kind: str) -> type[MaskHeadConfig]:
    """The configuration of that kind among all that are defined in this process."""
    # A subclass sets ``kind`` on the class, which a type checker cannot know.
    kinds = {head.kind: head for head in MaskHeadConfig.__subclasses__()}  # type: ignore[misc]
    if kind not in kinds:
        raise ValueError(
            f"no mask head of the kind {kind!r} is known, only {', '.join(kinds)}; import the module that defines it"
        )
    return kinds[kind]
