"""What the command line changes of a recipe."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from refinemask.files import UserError
from refinemask.recipes import RECIPES, ValidationData
from refinemask.selection import Selection
from refinemask.training.overrides import raised_for_detections, with_frozen_backbone, with_image_size, with_own_data

RECIPE = RECIPES["refinemask-r50-coco-1x"]


def test_nothing_given_changes_nothing() -> None:
    assert with_own_data(RECIPE, None, None, None, None) == RECIPE


def test_own_data_leave_the_rest_of_the_recipe(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.json", tmp_path / "images"
    own = with_own_data(RECIPE, file, folder, file, folder)
    assert own.validation == ValidationData(annotations=str(file), images=str(folder))
    assert own.data == replace(RECIPE.data, annotations=str(file), images=str(folder))
    assert (own.model, own.train) == (RECIPE.model, RECIPE.train)


def test_own_validation_alone_keeps_the_training_data(tmp_path: Path) -> None:
    own = with_own_data(RECIPE, None, None, tmp_path / "v.json", None)
    assert own.data == RECIPE.data
    assert own.validation == ValidationData(annotations=str(tmp_path / "v.json"), images=str(tmp_path))


def test_own_training_data_alone_are_evaluated_on_nothing(tmp_path: Path) -> None:
    assert with_own_data(RECIPE, tmp_path / "a.json", None, None, None).validation is None


def test_the_images_of_another_format_are_named(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [a]\n")
    for annotations in (tmp_path, tmp_path / "data.yaml", tmp_path / "data.yaml:train"):
        with pytest.raises(UserError, match="name the folder of its images, too"):
            with_own_data(RECIPE, annotations, None, None, None)
        assert with_own_data(RECIPE, annotations, tmp_path, None, None).data.images == str(tmp_path)


@pytest.mark.parametrize("option", ["", "val-"])
def test_images_without_annotations_are_refused(option: str) -> None:
    given = (None, Path("i"), None, None) if not option else (None, None, None, Path("i"))
    with pytest.raises(UserError, match=f"--{option}images i: needs --{option}annotations"):
        with_own_data(RECIPE, *given)


def test_the_size_is_that_of_training_and_of_the_model() -> None:
    small = with_image_size(RECIPES["nuclei-demo"], (128, 256))
    assert (small.data.short_sides, small.data.long_side) == ((128,), 256)
    assert (small.model.preprocessing.short_side, small.model.preprocessing.long_side) == (128, 256)
    assert small.model.preprocessing.mean == RECIPES["nuclei-demo"].model.preprocessing.mean


def test_what_detections_raise_is_told() -> None:
    models = [Selection(detections=count).of_network(RECIPE.model) for count in (5, 1000, 3840)]
    raised = ["candidates_per_level from 1000 to 3840", "proposals from 1000 to 3840"]
    assert [raised_for_detections(RECIPE.model, model) for model in models] == [[], [], raised]


def test_a_frozen_backbone_is_frozen_whole() -> None:
    backbone = with_frozen_backbone(RECIPES["nuclei-demo"].model).backbone
    assert (backbone.frozen_stages, backbone.frozen_norm, backbone.blocks) == (4, True, (2, 2, 2, 2))


@pytest.mark.parametrize(("val_images", "folder"), [(None, "i"), (Path("v"), "v")])
def test_validation_images_lie_with_those_of_training_if_not_named(val_images: Path | None, folder: str) -> None:
    recipe = with_own_data(RECIPE, Path("a.json"), Path("i"), Path("b.json"), val_images)
    assert recipe.validation is not None
    assert recipe.validation.images == os.path.abspath(folder)
