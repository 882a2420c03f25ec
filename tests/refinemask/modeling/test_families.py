"""The table of families: complete, and all that a new mask head needs beside its configuration and its module."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from refinemask import config as config_module
from refinemask.config import (
    FCNMaskConfig,
    HTCConfig,
    MaskHeadConfig,
    ModelConfig,
    PointRendConfig,
    RefineMaskConfig,
    TrainConfig,
)
from refinemask.config_json import from_json, to_json
from refinemask.data.coco import read_coco
from refinemask.data.sampler import BatchSampler
from refinemask.data.training import TrainingBatch, TrainingDataset, collate
from refinemask.files import UserError
from refinemask.modeling.blocks import LabelPredictor
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import ExportedDetector
from refinemask.modeling.families import FAMILIES, family_of
from refinemask.modeling.family import Family
from refinemask.modeling.losses import binary_loss
from refinemask.official.detector import load_official, recognise
from refinemask.ops import pool
from refinemask.targets.rois import Positives, Supervision, batch_mask_targets
from refinemask.training.objective import detection_losses
from tests.support import tiny_training
from tests.support.tolerances import assert_near

SIZE = 7


@dataclass(frozen=True, kw_only=True)
class LinearConfig(MaskHeadConfig):
    """A mask head that the project does not have."""

    kind: Literal["linear"] = "linear"
    hidden: int = 4


class LinearHead(nn.Module):
    """Masks of 7×7 by two 1×1 convolutions."""

    def __init__(self, channels: int, num_classes: int, config: LinearConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, config.hidden, 1)
        self.predictor = LabelPredictor(config.hidden, num_classes)

    def forward(self, pyramid: list[Tensor], rois: Tensor, labels: Tensor) -> Tensor:
        return self.predictor(self.conv(pool(pyramid[:4], rois, SIZE)), labels)[:, 0]

    def image_maps(self, features: list[Tensor]) -> list[Tensor]:
        return []

    def predict(
        self, features: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        return self(features, rois, labels).sigmoid()

    def losses(self, pyramid: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        (masks,) = batch_mask_targets(supervision.targets, positives, (SIZE,))
        return {"mask_linear": binary_loss(self(pyramid, positives.rois, positives.labels), masks)}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """A tiny model of a family that is added to the table for the test."""
    monkeypatch.setitem(FAMILIES, LinearConfig, Family(name="Linear", mask_head=LinearHead))
    return replace(
        tiny_training.RECIPE.model,
        class_names=("square", "disk"),
        category_ids=(3, 7),
        mask_head=LinearConfig(hidden=5),
    )


@pytest.fixture
def batch(tmp_path: Path) -> TrainingBatch:
    root = tiny_training.draw_dataset(tmp_path)
    dataset = TrainingDataset(read_coco(root / "train.json"), root / "images", tiny_training.RECIPE.data)
    return collate([dataset[pick] for pick in BatchSampler(dataset.aspect_ratios, 2, seed=0).batch(0)])


def test_every_configuration_has_its_family() -> None:
    assert set(FAMILIES) == {
        head for head in MaskHeadConfig.__subclasses__() if head.__module__ == config_module.__name__
    }
    assert len({family.name for family in FAMILIES.values()}) == len(FAMILIES)
    assert len({kind().kind for kind in FAMILIES}) == len(FAMILIES)
    names = {field.name for field in fields(TrainConfig)}
    assert all(family.training.keys() <= names for family in FAMILIES.values())


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (RefineMaskConfig(), "original"),
        (RefineMaskConfig(variant="simple"), "simple"),
        (FCNMaskConfig(), "Mask R-CNN"),
        (PointRendConfig(), "PointRend"),
        (HTCConfig(), "HTC"),
    ],
)
def test_a_head_is_named_by_its_variant_or_its_family(head: MaskHeadConfig, name: str) -> None:
    assert family_of(head).head_name(head) == name


def test_a_new_family_is_configured_as_the_others_are(config: ModelConfig) -> None:
    assert from_json(ModelConfig, to_json(config)) == config


def test_a_kind_that_nobody_defined_is_named(config: ModelConfig) -> None:
    text = to_json(config).replace('"linear"', '"spline"')
    with pytest.raises(ValueError, match=r"kind 'spline' is known, only fcn, refine, .*import the module"):
        from_json(ModelConfig, text)


def test_a_configuration_without_a_family_is_named() -> None:
    with pytest.raises(UserError, match=r"LinearConfig: no family.*FAMILIES"):
        family_of(LinearConfig())


def test_a_new_family_detects_and_is_exported(config: ModelConfig, batch: TrainingBatch) -> None:
    torch.manual_seed(0)
    detector = Detector(config).eval()
    with torch.no_grad():
        eager = detector(batch.images, batch.image_sizes)
        exported = ExportedDetector(detector)(batch.images, batch.image_sizes)
    assert eager.masks.shape == exported[-1].shape == (2, config.box_head.detections, SIZE, SIZE)
    assert int(eager.num_detections.min()) > 0
    real = torch.arange(config.box_head.detections) < eager.num_detections[:, None]
    assert_near(eager.masks[real], exported[-1][real], "batches")


def test_a_new_family_needs_no_official_checkpoints(config: ModelConfig) -> None:
    with pytest.raises(UserError, match="no official checkpoints of Linear"):
        load_official(Detector(config), {})
    with pytest.raises(UserError, match=r"checkpoint of RefineMask, Mask R-CNN, PointRend or HTC$"):
        recognise({})


def test_a_new_family_trains_every_weight(config: ModelConfig, batch: TrainingBatch) -> None:
    torch.manual_seed(0)
    detector = Detector(config)
    losses = detection_losses(detector, batch.images, batch.image_sizes, batch.targets, tiny_training.RECIPE.train)
    assert losses.keys() == {"rpn_objectness", "rpn_box", "box_class", "box_box", "mask_linear"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in detector.parameters())
    head: Any = detector.mask_head
    assert head.conv.weight.grad.any()
