"""The recipes, number by number against the reference (sections 6.3, 8 and 11)."""

import pytest

from refinemask.config import FCNMaskConfig, RefineMaskConfig
from refinemask.config_json import from_json, to_json
from refinemask.recipes import RECIPES, Recipe

COCO = [name for name in RECIPES if "-coco-" in name and name.startswith(("refinemask", "mask-rcnn"))]
REFINEMASK = [name for name in RECIPES if name.startswith("refinemask")]
MASK_RCNN = [name for name in RECIPES if name.startswith("mask-rcnn")]


def test_there_is_one_recipe_per_published_row() -> None:
    rows = {
        f"{model}-{depth}-coco-{n}x"
        for model in ("refinemask", "mask-rcnn")
        for depth in ("r50", "r101")
        for n in (1, 2)
    }
    rows |= {f"{model}-{depth}-lvis-1x" for model in ("refinemask", "mask-rcnn") for depth in ("r50", "r101")}
    rows |= {"refinemask-r50-cityscapes", "mask-rcnn-r50-cityscapes", "refinemask-simple-r50-coco-1x"}
    assert rows | {"nuclei-demo", "nuclei-demo-mask-rcnn"} <= set(RECIPES)


@pytest.mark.parametrize("name", COCO)
def test_coco(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.train.epochs, recipe.train.step_epochs) == ((24, (16, 22)) if name.endswith("2x") else (12, (8, 11)))
    assert (recipe.train.batch_size, recipe.train.learning_rate) == (16, 0.02)
    assert (recipe.data.short_sides, recipe.data.long_side) == ((800,), 1333)
    assert recipe.train.smooth_l1_beta is None
    assert (recipe.model.box_head.score_threshold, recipe.model.box_head.detections) == (0.05, 100)


@pytest.mark.parametrize("name", [name for name in RECIPES if "-lvis-" in name])
def test_lvis(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.train.epochs, recipe.train.step_epochs, recipe.train.learning_rate) == (12, (8, 11), 0.02)
    assert (recipe.data.short_sides, recipe.data.long_side) == ((640, 672, 704, 736, 768, 800), 1333)
    assert (recipe.data.format, recipe.data.repeat_threshold) == ("lvis", 0.001)
    assert (recipe.model.box_head.score_threshold, recipe.model.box_head.detections) == (1e-4, 300)
    if isinstance(recipe.model.mask_head, RefineMaskConfig):
        assert recipe.model.mask_head.class_agnostic_last


@pytest.mark.parametrize("name", [name for name in RECIPES if "-cityscapes" in name])
def test_cityscapes(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.train.epochs, recipe.train.step_epochs) == (64, (56,))
    assert (recipe.train.batch_size, recipe.train.learning_rate) == (8, 0.01)
    assert recipe.train.smooth_l1_beta == 1.0
    assert recipe.data.short_sides == tuple(range(800, 1025))
    assert recipe.data.long_side == 2048
    preprocessing = recipe.model.preprocessing
    assert (preprocessing.short_side, preprocessing.long_side) == (1024, 2048)


@pytest.mark.parametrize("name", REFINEMASK + MASK_RCNN)
def test_what_all_official_recipes_share(name: str) -> None:
    recipe = RECIPES[name]
    train = recipe.train
    assert (train.momentum, train.weight_decay) == (0.9, 1e-4)
    assert (train.warmup_iterations, train.warmup_factor) == (500, 0.001)
    assert (train.rois_per_image, train.positive_fraction) == (512, 0.25)
    assert (recipe.data.horizontal_flip, recipe.data.vertical_flip) == (0.5, 0.0)
    assert (recipe.model.rpn.training_candidates_per_level, recipe.model.rpn.proposals) == (2000, 1000)
    assert recipe.model.backbone.blocks == ((3, 4, 23, 3) if "r101" in name else (3, 4, 6, 3))
    assert (recipe.model.backbone.frozen_stages, recipe.model.backbone.frozen_norm) == (1, True)


@pytest.mark.parametrize("name", REFINEMASK)
def test_refinemask_doubles_box_losses_and_clips(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.train.box_loss_weight, recipe.train.clip_norm, recipe.data.polygons) == (2.0, 35.0, True)
    head = recipe.model.mask_head
    assert isinstance(head, RefineMaskConfig)
    assert (head.variant == "simple") == ("simple" in name)


@pytest.mark.parametrize("name", MASK_RCNN)
def test_mask_rcnn_does_not(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.train.box_loss_weight, recipe.train.clip_norm) == (1.0, None)
    # Cityscapes is annotated with run lengths, which are bitmaps in any case.
    assert recipe.data.polygons == ("cityscapes" in name)
    assert isinstance(recipe.model.mask_head, FCNMaskConfig)


def test_the_demos_differ_by_their_head_alone() -> None:
    ours, theirs = RECIPES["nuclei-demo"], RECIPES["nuclei-demo-mask-rcnn"]
    assert ours.train == theirs.train
    assert ours.data == theirs.data
    assert ours.model.backbone == theirs.model.backbone


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes_survive_json(recipe: Recipe) -> None:
    assert from_json(Recipe, to_json(recipe)) == recipe
