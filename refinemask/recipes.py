"""Named training recipes: one per published row of the official repository, and the demo's."""

from dataclasses import dataclass, replace

from refinemask.config import (
    BackboneConfig,
    BoxHeadConfig,
    DataConfig,
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    ModelConfig,
    PointRendConfig,
    Preprocessing,
    RefineMaskConfig,
    RPNConfig,
    TrainConfig,
)
from refinemask.modeling.families import family_of


@dataclass(frozen=True, kw_only=True)
class ValidationData:
    """What a run is evaluated on; paths are absolute, or relative to the data root."""

    annotations: str
    """Annotation file."""
    images: str
    """Folder of the images."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run learns."""

    model: ModelConfig
    """Configuration of the model, with placeholders for the classes, which a run takes from the annotations."""
    data: DataConfig
    """Training data, with paths that are absolute, or relative to the data root."""
    validation: ValidationData | None
    """Data for the evaluations during training; None evaluates nothing."""
    train: TrainConfig
    """Configuration of the optimisation."""


R50 = BackboneConfig()
R101 = BackboneConfig(blocks=(3, 4, 23, 3))
REFINE = RefineMaskConfig()
REFINE_LVIS = RefineMaskConfig(class_agnostic_last=True)
SIMPLE = RefineMaskConfig(variant="simple", class_agnostic_last=True)
FCN = FCNMaskConfig()
POINT_REND = PointRendConfig()
HTC = HTCConfig()
MULTI_SCALE = tuple(range(640, 801, 32))


def _model(backbone: BackboneConfig, mask_head: MaskHeadConfig) -> ModelConfig:
    return ModelConfig(class_names=("object",), category_ids=(1,), backbone=backbone, mask_head=mask_head)


def _for_head(mask_head: MaskHeadConfig, config: TrainConfig) -> TrainConfig:
    return replace(config, **family_of(mask_head).training)


def _data_for_head(mask_head: MaskHeadConfig, config: DataConfig) -> DataConfig:
    """Mask targets from polygons, or from bitmaps (official ``poly2mask``), as the head's family has them."""
    return replace(config, polygons=family_of(mask_head).polygons)


COCO_DATA = DataConfig(annotations="annotations/instances_train2017.json", images="train2017")
COCO_VALIDATION = ValidationData(annotations="annotations/instances_val2017.json", images="val2017")


def _coco(backbone: BackboneConfig, mask_head: MaskHeadConfig, schedule: int) -> Recipe:
    train = TrainConfig(epochs=12 * schedule, step_epochs=(8, 11) if schedule == 1 else (16, 22))
    return Recipe(
        model=_model(backbone, mask_head),
        data=_data_for_head(mask_head, COCO_DATA),
        validation=COCO_VALIDATION,
        train=_for_head(mask_head, train),
    )


def _point_rend() -> Recipe:
    """The official configuration with torchvision's ResNet-50 and weights, in place of Caffe's."""
    recipe = _coco(R50, POINT_REND, 1)
    return replace(recipe, data=replace(recipe.data, short_sides=MULTI_SCALE))


def _htc(semantic_maps: str | None) -> Recipe:
    recipe = _coco(R50, HTC, 1)
    model = replace(recipe.model, rpn=RPNConfig(training_proposals=2000), box_head=BoxHeadConfig(score_threshold=0.001))
    return replace(recipe, model=model, data=replace(recipe.data, semantic_maps=semantic_maps))


def _lvis(backbone: BackboneConfig, mask_head: MaskHeadConfig) -> Recipe:
    model = replace(
        _model(backbone, mask_head),
        box_head=BoxHeadConfig(score_threshold=1e-4, detections=300),
    )
    # LVIS takes images from both folders of COCO; its file names contain the folder.
    data = DataConfig(
        annotations="annotations/lvis_v1_train.json",
        images="",
        format="lvis",
        repeat_threshold=0.001,
        short_sides=MULTI_SCALE,
    )
    validation = ValidationData(annotations="annotations/lvis_v1_val.json", images="")
    data = _data_for_head(mask_head, data)
    return Recipe(model=model, data=data, validation=validation, train=_for_head(mask_head, TrainConfig()))


def _cityscapes(backbone: BackboneConfig, mask_head: MaskHeadConfig) -> Recipe:
    model = replace(_model(backbone, mask_head), preprocessing=Preprocessing(short_side=1024, long_side=2048))
    data = DataConfig(
        annotations="annotations/instancesonly_filtered_gtFine_train.json",
        images="leftImg8bit/train",
        short_sides=tuple(range(800, 1025)),
        long_side=2048,
    )
    validation = ValidationData(
        annotations="annotations/instancesonly_filtered_gtFine_val.json", images="leftImg8bit/val"
    )
    train = TrainConfig(epochs=64, step_epochs=(56,), batch_size=8, learning_rate=0.01, smooth_l1_beta=1.0)
    return Recipe(model=model, data=data, validation=validation, train=_for_head(mask_head, train))


def _nuclei(mask_head: MaskHeadConfig) -> Recipe:
    """A small detector of cell nuclei, trained from random weights on a CPU in about an hour."""
    model = ModelConfig(
        class_names=("object",),
        category_ids=(1,),
        preprocessing=Preprocessing(short_side=384, long_side=384),
        backbone=BackboneConfig(blocks=(2, 2, 2, 2), width=32, frozen_norm=False, frozen_stages=-1),
        fpn_channels=64,
        # Half of the nuclei are smaller than 20 px here, so the smallest anchors have 16 px.
        rpn=RPNConfig(anchor_scale=4.0, candidates_per_level=500, training_candidates_per_level=500, proposals=500),
        box_head=BoxHeadConfig(hidden=256, detections=150),
        mask_head=mask_head,
    )
    data = DataConfig(
        annotations="annotations/instances_train.json",
        images="images",
        short_sides=(352, 384, 416),
        long_side=416,
        vertical_flip=0.5,
    )
    train = TrainConfig(
        epochs=48,
        step_epochs=(38, 45),
        batch_size=4,
        learning_rate=0.01,
        warmup_iterations=200,
        rois_per_image=64,
    )
    validation = ValidationData(annotations="annotations/instances_val.json", images="images")
    return Recipe(model=model, data=data, validation=validation, train=train)


def _coco_mini(mask_head: MaskHeadConfig) -> Recipe:
    """ResNet-50 (Caffe's layout) on a few hundred images of COCO at a third of the usual side, for a CPU."""
    sides = Preprocessing(short_side=256, long_side=384)
    model = replace(
        _model(BackboneConfig(stride_in_1x1=True), mask_head),
        preprocessing=sides,
        rpn=RPNConfig(anchor_scale=3.0, training_candidates_per_level=500, training_proposals=500),
    )
    data = DataConfig(
        annotations="annotations/instances_train.json",
        images="images",
        short_sides=(sides.short_side,),
        long_side=sides.long_side,
        horizontal_flip=0.0,
    )
    train = TrainConfig(
        epochs=56,
        step_epochs=(38, 50),
        batch_size=4,
        learning_rate=0.01,
        warmup_iterations=100,
        rois_per_image=64,
    )
    validation = ValidationData(annotations="annotations/instances_val_official.json", images="images")
    clip_norm, train = train.clip_norm, _for_head(mask_head, train)
    # The learning rate is high because there are few images. So every family clips its gradients, and a family with
    # twice the weight of the box losses takes half the rate.
    train = replace(train, clip_norm=clip_norm, learning_rate=train.learning_rate / train.box_loss_weight)
    return Recipe(model=model, data=_data_for_head(mask_head, data), validation=validation, train=train)


RECIPES: dict[str, Recipe] = {
    "refinemask-r50-coco-1x": _coco(R50, REFINE, 1),
    "refinemask-r50-coco-2x": _coco(R50, REFINE, 2),
    "refinemask-r101-coco-1x": _coco(R101, REFINE, 1),
    "refinemask-r101-coco-2x": _coco(R101, REFINE, 2),
    "refinemask-simple-r50-coco-1x": _coco(R50, SIMPLE, 1),
    "refinemask-r50-lvis-1x": _lvis(R50, REFINE_LVIS),
    "refinemask-r101-lvis-1x": _lvis(R101, REFINE_LVIS),
    "refinemask-r50-cityscapes": _cityscapes(R50, REFINE),
    "mask-rcnn-r50-coco-1x": _coco(R50, FCN, 1),
    "mask-rcnn-r50-coco-2x": _coco(R50, FCN, 2),
    "mask-rcnn-r101-coco-1x": _coco(R101, FCN, 1),
    "mask-rcnn-r101-coco-2x": _coco(R101, FCN, 2),
    "mask-rcnn-r50-lvis-1x": _lvis(R50, FCN),
    "mask-rcnn-r101-lvis-1x": _lvis(R101, FCN),
    "mask-rcnn-r50-cityscapes": _cityscapes(R50, FCN),
    "pointrend-r50-coco-1x": _point_rend(),
    "htc-r50-coco-1x": _htc("stuffthingmaps/train2017"),
    "htc-without-stuff-r50-coco-1x": _htc(None),
    "coco-mini": _coco_mini(REFINE),
    "coco-mini-mask-rcnn": _coco_mini(FCN),
    "coco-mini-pointrend": _coco_mini(POINT_REND),
    "coco-mini-htc": _coco_mini(HTC),
    "nuclei-demo": _nuclei(REFINE),
    "nuclei-demo-mask-rcnn": _nuclei(FCN),
    "nuclei-demo-pointrend": _nuclei(PointRendConfig(hidden=256)),
    "nuclei-demo-htc": _nuclei(HTC),
}
"""The recipes, by name."""
