"""What a model, a data pipeline and a training run are made of: frozen dataclasses.

A configuration travels as JSON inside every checkpoint and exported file; it is data and is never executed.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


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
    width: int = 64
    """Channels of the stem; the stages C2..C5 have 4, 8, 16 and 32 times as many."""
    stride_in_1x1: bool = False
    """Caffe style: a stage's stride sits in its first 1×1 convolution instead of the 3×3."""
    frozen_stages: int = 1
    """In training the stem and this many stages keep their weights; -1 trains everything."""
    frozen_norm: bool = True
    """Batch norm uses its running statistics in training too (its scale and shift are still trained)."""


@dataclass(frozen=True, kw_only=True)
class RPNConfig:
    """Region proposal network over P2..P6 with one anchor scale per level."""

    anchor_scale: float = 8.0
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    candidates_per_level: int = 1000
    training_candidates_per_level: int = 2000
    proposals: int = 1000
    training_proposals: int | None = None
    """As many as at test time, if not given."""
    nms_iou: float = 0.7


@dataclass(frozen=True, kw_only=True)
class BoxHeadConfig:
    """Two fully connected layers on 7×7 RoI features, and the selection of the final detections."""

    hidden: int = 1024
    delta_std: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    detections: int = 100
    candidates: int = 3840
    """(RoI, class) pairs, best first, that enter the final NMS; TensorRT's top-k allows no more."""


@dataclass(frozen=True, kw_only=True)
class FCNMaskConfig:
    """Mask R-CNN's head: four convolutions at 14×14, one transposed convolution, 28×28 masks."""

    kind: typing.Literal["fcn"] = "fcn"
    convs: int = 4


@dataclass(frozen=True, kw_only=True)
class RefineMaskConfig:
    """RefineMask's head (paper section 3), 14 → 28 → 56 → 112.

    ``original`` is the head of the released checkpoints, with the semantic mask branch; ``simple`` is the
    authors' later, faster head, without it.
    """

    kind: typing.Literal["refine"] = "refine"
    variant: typing.Literal["original", "simple"] = "original"
    instance_convs: int = 2
    semantic_convs: int = 4
    class_agnostic_last: bool = False
    """The last predictor has one channel for all classes (LVIS, and always in the simple head)."""


@dataclass(frozen=True, kw_only=True)
class PointRendConfig:
    """PointRend's heads: coarse masks of 7×7, refined at chosen points up to 224×224."""

    kind: typing.Literal["pointrend"] = "pointrend"
    hidden: int = 1024
    """Width of the coarse head's two fully connected layers."""


@dataclass(frozen=True, kw_only=True)
class HTCConfig:
    """Hybrid Task Cascade: box and mask stages in turn, and a semantic branch that both read."""

    kind: typing.Literal["htc"] = "htc"
    delta_stds: tuple[tuple[float, float, float, float], ...] = (
        (0.1, 0.1, 0.2, 0.2),
        (0.05, 0.05, 0.1, 0.1),
        (0.033, 0.033, 0.067, 0.067),
    )
    """One per stage; they take the place of the box head's own."""
    convs: int = 4
    """Of each mask stage, and of the semantic branch."""
    semantic_classes: int = 183


MaskHeadConfig = FCNMaskConfig | RefineMaskConfig | PointRendConfig | HTCConfig
"""The kinds of mask heads; ``refinemask.modeling.families`` says what each brings with it."""


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
        return len(self.class_names)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Training data and its augmentation."""

    annotations: str
    images: str
    format: typing.Literal["coco", "lvis"] = "coco"
    repeat_threshold: float | None = None
    """LVIS: images with categories in a smaller fraction of the images are shown more often."""
    polygons: bool = True
    """Mask targets from the annotated polygons; otherwise these become bitmaps first, as for official Mask R-CNN."""
    semantic_maps: str | None = None
    """HTC: folder with a class map (PNG, one channel, 255 where unknown) of each image, of the same stem."""
    short_sides: tuple[int, ...] = (800,)
    """One of these is drawn per image."""
    long_side: int = 1333
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation: SGD, linear warm-up, learning rate divided by ten at each step."""

    epochs: int = 12
    step_epochs: tuple[int, ...] = (8, 11)
    batch_size: int = 16
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float | None = 35.0
    warmup_iterations: int = 500
    warmup_factor: float = 0.001
    box_loss_weight: float = 2.0
    """Weight of both box losses; RefineMask doubles Mask R-CNN's."""
    smooth_l1_beta: float | None = None
    """None is plain L1; Cityscapes and HTC use 1.0."""
    rpn_smooth_l1_beta: float | None = None
    """HTC uses 1/9."""
    anchors_inside: bool = False
    """Anchors that cross the image's border are not trained on (HTC)."""
    rois_per_image: int = 512
    positive_fraction: float = 0.25
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
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(_build(typing.get_args(kind)[0], part) for part in value)
    if origin in (typing.Union, types.UnionType) and isinstance(value, dict):
        return _build({option.kind: option for option in typing.get_args(kind)}[value["kind"]], value)
    return value
