"""Add a mask head: a light one of separable convolutions with masks of 56×56, trained, exported and run.

    python examples/add_a_mask_head.py [OUT]

It trains a tiny detector with the new head on the bundled nuclei for one epoch, exports it to ONNX, which compares the
file with PyTorch, and runs the file. It needs the extras export and cpu, no GPU, and about a minute.
docs/extending/mask-head.md explains it.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

import engines
import export
from refinemask import Plan, train
from refinemask.agreement import agreement
from refinemask.bundled import NUCLEI
from refinemask.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, Preprocessing, RPNConfig
from refinemask.contract import Bounds
from refinemask.modeling.blocks import LabelPredictor, upsample_features
from refinemask.modeling.families import FAMILIES
from refinemask.modeling.family import Family
from refinemask.modeling.losses import binary_loss
from refinemask.ops import full_precision, pool
from refinemask.recipes import RECIPES, Recipe
from refinemask.targets.rois import Positives, Supervision, batch_mask_targets
from refinemask.training.loop import Execution

ROI_SIZE, MASK_SIZE = 14, 56
SIDE = 128
"""Height and width of the tiny detector's input."""


@dataclass(frozen=True, kw_only=True)
class LightMaskConfig(MaskHeadConfig):
    """The light head: separable convolutions at 14×14, 28×28 and 56×56."""

    kind: Literal["light"] = "light"
    width: int = 32
    """Channels of all its convolutions."""
    convs: int = 2
    """Number of convolutions at 14×14."""


class LightMaskHead(nn.Module):
    """Masks of 56×56, four times as fine as Mask R-CNN's, by convolutions with few weights.

    The last convolution runs at the size of the mask, so it can sharpen the boundary that upsampling has blurred.
    """

    def __init__(self, channels: int, num_classes: int, config: LightMaskConfig) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, config.width, 1)
        self.convs = nn.Sequential(*(separable_conv(config.width) for _ in range(config.convs)))
        self.finer = separable_conv(config.width)
        self.sharpen = separable_conv(config.width)
        self.predictor = LabelPredictor(config.width, num_classes)

    def logits(self, features: list[Tensor], rois: Tensor, labels: Tensor) -> Tensor:
        """Logits [R, 1, 56, 56] float32 of RoIs [R, 5] with labels [R]."""
        hidden = self.convs(self.reduce(pool(features[:4], rois, ROI_SIZE)))
        hidden = self.finer(upsample_features(hidden))
        hidden = self.sharpen(upsample_features(hidden))
        return full_precision(self.predictor(hidden, labels))

    def image_maps(self, features: list[Tensor]) -> list[Tensor]:
        """Nothing: all that this head computes depends on the RoIs."""
        return []

    def predict(
        self, features: list[Tensor], rois: Tensor, labels: Tensor, image_maps: list[Tensor] | None = None
    ) -> Tensor:
        """Mask probabilities [R, 56, 56]."""
        return self.logits(features, rois, labels).sigmoid()[:, 0]

    def losses(self, features: list[Tensor], positives: Positives, supervision: Supervision) -> dict[str, Tensor]:
        """The loss of the masks, by its name in metrics.jsonl."""
        logits = self.logits(features, positives.rois, positives.labels).float()
        (masks,) = batch_mask_targets(supervision.targets, positives, (MASK_SIZE,))
        return {"mask": binary_loss(logits, masks[:, None])}


def separable_conv(width: int) -> nn.Sequential:
    """A 3×3 convolution of each channel by itself, and a 1×1 convolution that mixes them."""
    depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
    return nn.Sequential(depthwise, nn.Conv2d(width, width, 1), nn.ReLU())


FAMILIES[LightMaskConfig] = Family(name="Light", mask_head=LightMaskHead)


def tiny_recipe() -> Recipe:
    """The recipe of the bundled nuclei model with the new head, and small enough for seconds on one core."""
    recipe = RECIPES["nuclei-demo"]
    model = replace(
        recipe.model,
        preprocessing=Preprocessing(short_side=SIDE, long_side=SIDE),
        backbone=BackboneConfig(blocks=(1, 1, 1, 1), width=8, frozen_norm=False, frozen_stages=-1),
        fpn_channels=32,
        rpn=RPNConfig(anchor_scale=2.0, candidates_per_level=60, training_candidates_per_level=100, proposals=60),
        box_head=BoxHeadConfig(hidden=32, detections=20, candidates=60),
        mask_head=LightMaskConfig(width=16),
    )
    data = replace(recipe.data, short_sides=(SIDE,), long_side=SIDE)
    # At the recipe's rate so small a detector may end with one score for all boxes, and no export can be compared.
    schedule = replace(
        recipe.train, epochs=1, step_epochs=(), warmup_iterations=10, rois_per_image=32, learning_rate=0.005
    )
    return replace(recipe, model=model, data=data, train=schedule)


def main(out: Path) -> None:
    """Train with the new head, export what was trained, and run the exported file."""
    cpu = Execution(device=torch.device("cpu"))
    train(
        Plan(
            name="light-nuclei",
            recipe=tiny_recipe(),
            data_root=NUCLEI,
            output=out,
            execution=cpu,
            evaluate_every=0,
            log_every=5,
        )
    )
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for line in (metrics[0], metrics[-1]):
        print(f"iteration {line['iteration']}: mask loss {line['losses']['mask']:.3f}")

    checkpoint, exported = out / "last.safetensors", out / "light.onnx"
    bounds = Bounds(batch=(1, 1, 2), height=(SIDE, SIDE, SIDE), width=(SIDE, SIDE, SIDE))
    report = export.export_onnx(checkpoint, exported, bounds=bounds, verify_images=NUCLEI / "images")
    near, total = agreement(report.comparisons, report.parity)
    print(f"{exported}: {near} of {total} detections agree with PyTorch")

    engine = engines.load(exported)
    for result in engine.predict([NUCLEI / "images" / "0005.png"]):
        print(f"{engine.name}: {len(result)} detections, {int(result.masks().sum())} pixels in their masks")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/add_a_mask_head"))
