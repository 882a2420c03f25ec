"""Training on data of one's own, and the options that it brings."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from refinemask import load_detector
from refinemask.evaluation.measurement import Measurement
from refinemask.recipes import RECIPES
from refinemask.train import Args, main, resolve
from refinemask.training import run
from refinemask.training.loop import Trainer
from refinemask.weights import read_metadata
from tests.support import tiny_training
from tests.support.training_runs import arguments, lasting, losses, records

pytestmark = pytest.mark.usefixtures("tiny_recipes")


@pytest.fixture(scope="module")
def two_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_training.draw_dataset(tmp_path_factory.mktemp("two"), images=2)


@pytest.fixture
def no_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations take longer than the training here."""
    monkeypatch.setattr(run, "validate", _measuring([0.5] * 10))


def _measuring(figures: list[float]) -> Callable[..., Measurement]:
    left = iter(figures)

    def measured(*_: object) -> Measurement:
        scores = {"bbox": {"AP": 0.0}, "segm": {"AP": next(left)}}
        return Measurement(figures=scores, images=8, skipped=(), max_detections=100)

    return measured


def own(root: Path, output: Path, **overrides: Any) -> Args:
    """Arguments that name all data themselves, for an epoch."""
    data: dict[str, Any] = {f"{part}annotations": root / "train.json" for part in ("", "val_")}
    data |= {f"{part}images": root / "images" for part in ("", "val_")}
    quick: dict[str, Any] = {"data_root": None, "evaluate_every": 1, "epochs": 1, "batch_size": 2}
    return replace(arguments(root, output), **{**quick, **data, **overrides})


def test_own_files_of_any_name_train_as_the_recipes_do(two_images: Path, tmp_path: Path) -> None:
    assert main(arguments(two_images, tmp_path / "named", evaluate_every=1, epochs=1, batch_size=2)) == 0
    moved = tiny_training.draw_dataset(tmp_path / "elsewhere", images=2)
    (moved / "train.json").rename(moved / "_annotations.coco.json")
    (moved / "images").rename(moved / "all my pictures")
    files = {f"{part}annotations": moved / "_annotations.coco.json" for part in ("", "val_")}
    folders = {f"{part}images": moved / "all my pictures" for part in ("", "val_")}
    assert main(own(moved, tmp_path / "own", **files, **folders)) == 0
    assert lasting(tmp_path / "own") == lasting(tmp_path / "named")
    recipe = json.loads((tmp_path / "own" / "recipe.json").read_text())
    assert recipe["data"]["images"] == recipe["validation"]["images"] == str(moved / "all my pictures")
    assert recipe["model"]["class_names"] == ["square", "disk"]


@pytest.mark.usefixtures("no_evaluation")
def test_images_beside_their_annotations_need_no_option(two_images: Path, tmp_path: Path) -> None:
    beside = tiny_training.draw_dataset(tmp_path / "data", images=2)
    (beside / "train.json").rename(beside / "images" / "train.json")
    args = own(beside, tmp_path / "run", annotations=beside / "images" / "train.json", images=None, epochs=1)
    assert main(replace(args, val_annotations=None, val_images=None)) == 0


@pytest.mark.usefixtures("no_evaluation")
def test_relative_paths_are_those_of_the_working_directory(
    two_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two_images)
    files = {"annotations": Path("train.json"), "images": Path("images")}
    assert main(own(two_images, tmp_path / "run", **files)) == 0
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["data"]["annotations"] == str(two_images / "train.json")


def test_without_own_validation_nothing_is_evaluated_and_a_line_says_so(
    two_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert main(own(two_images, output, val_annotations=None, val_images=None)) == 0
    told = capsys.readouterr().err
    assert "nothing is evaluated, for lack of --val-annotations: the run writes last.safetensors, no best" in told
    assert "no mask AP was measured: last.safetensors has the weights" in told
    assert json.loads((output / "recipe.json").read_text())["validation"] is None
    assert json.loads((output / "data.json").read_text())["validation"] is None
    assert (output / "last.safetensors").is_file()
    assert not (output / "best.safetensors").exists()


@pytest.mark.usefixtures("no_evaluation")
def test_a_run_goes_on_when_its_data_have_moved(two_images: Path, tmp_path: Path) -> None:
    first, output = tiny_training.draw_dataset(tmp_path / "first", images=2), tmp_path / "run"
    assert main(own(first, output)) == 0
    first.rename(tmp_path / "second")
    (tmp_path / "second" / "images").rename(tmp_path / "second" / "pictures")
    folders = {f"{part}images": tmp_path / "second" / "pictures" for part in ("", "val_")}
    assert main(own(tmp_path / "second", output, **folders, resume="auto")) == 0
    other = tiny_training.draw_dataset(tmp_path / "other", images=3)
    assert main(own(other, output, resume="auto")) == 2


@pytest.mark.usefixtures("no_evaluation")
def test_every_override_is_in_the_checkpoint(
    two_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"image_size": (48, 96), "detections": 70, "score_threshold": 0.2, "anchor_scale": 2.0}
    assert main(own(two_images, tmp_path / "run", **changes)) == 0
    assert (
        "--detections 70 raises candidates_per_level from 40 to 70, proposals from 30 to 70, candidates from 60 to"
        in (capsys.readouterr().err)
    )
    config = load_detector(tmp_path / "run" / "last.safetensors").config
    assert (config.preprocessing.short_side, config.preprocessing.long_side) == (48, 96)
    assert (config.box_head.detections, config.box_head.score_threshold, config.rpn.anchor_scale) == (70, 0.2, 2.0)
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["data"]["short_sides"], recipe["data"]["long_side"]) == ([48], 96)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_without_overrides_is_the_published_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert resolve(Args(recipe=name)) == RECIPES[name]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("count", [1, 100, 1000, 3840])
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_any_number_of_detections_is_possible_and_training_keeps_its_proposals(name: str, count: int) -> None:
    before, after = RECIPES[name].model, resolve(Args(recipe=name, detections=count)).model
    assert after.box_head.detections == count
    assert min(after.rpn.proposals, after.rpn.candidates_per_level, after.box_head.candidates) >= count
    assert max(after.rpn.proposals, after.rpn.candidates_per_level, after.box_head.candidates) <= 3840
    in_training = [(rpn.training_proposals or rpn.proposals, rpn.training_candidates_per_level) for rpn in
                   (before.rpn, after.rpn)]  # fmt: skip
    assert in_training[0] == in_training[1]


def test_the_command_line_takes_the_schedule() -> None:
    changes: dict[str, Any] = {"lr_schedule": "cosine", "early_stop": 3, "warmup": 7, "freeze": "backbone"}
    recipe = resolve(Args(recipe="refinemask-r50-coco-1x", **changes))
    assert (recipe.train.schedule, recipe.train.early_stop, recipe.train.warmup_iterations) == ("cosine", 3, 7)
    assert (recipe.model.backbone.frozen_stages, recipe.model.backbone.frozen_norm) == (4, True)


@pytest.mark.usefixtures("no_evaluation")
def test_a_frozen_backbone_keeps_every_weight_and_the_rest_learns(two_images: Path, tmp_path: Path) -> None:
    assert main(own(two_images, tmp_path / "first")) == 0
    start = tmp_path / "first" / "last.safetensors"
    assert main(own(two_images, tmp_path / "second", freeze="backbone", init=str(start), learning_rate=0.1)) == 0
    before, after = load_file(start), load_file(tmp_path / "second" / "last.safetensors")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert not {key for key in changed if key.startswith("backbone.")}
    assert {key.split(".")[0] for key in changed} >= {"fpn", "rpn", "box_head", "mask_head"}


def test_crowds_train_as_objects_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CVAT exports brush masks as run lengths, all marked as crowds."""
    data = tiny_training.draw_dataset(tmp_path / "data", images=2)
    content = json.loads((data / "train.json").read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1
    (data / "train.json").write_text(json.dumps(content))
    assert main(own(data, tmp_path / "run")) == 2
    assert "4 crowds (iscrowd 1; if each is one object: --crowd-as-object)" in capsys.readouterr().err
    assert main(own(data, tmp_path / "run", crowd_as_object=True)) == 0
    assert "mended: 4 objects marked as crowds (--crowd-as-object), the first is annotation 1" in (
        capsys.readouterr().err
    )
    used = json.loads((tmp_path / "run" / "data.json").read_text())
    assert used["training"]["objects_used"] == used["validation"]["objects_used"] == 4
    # Crowds alone would have been no objects to find, and their AP -1.
    assert records(tmp_path / "run")[-1]["average_precision"]["segm"]["AP"] >= 0


def with_empty_images(root: Path, count: int) -> Path:
    """The drawn data set, of which the last ``count`` of three images have no objects any more."""
    data = tiny_training.draw_dataset(root, images=3)
    content = json.loads((data / "train.json").read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] <= 3 - count]
    (data / "train.json").write_text(json.dumps(content))
    return data


@pytest.mark.usefixtures("no_evaluation")
def test_images_without_objects_are_negatives_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = with_empty_images(tmp_path / "data", 2)
    for name, kept in (("without", False), ("with", True)):
        # Batches of one image: some have negatives alone.
        assert main(own(data, tmp_path / name, background_images=kept, batch_size=1)) == 0
    without, kept_all = (
        capsys.readouterr().err.split("without/", 1)[0],
        json.loads((tmp_path / "with" / "data.json").read_text()),
    )
    assert "1 images (0 without objects)" in without
    assert "2 images without annotations (--background-images keeps them)" in without
    assert (kept_all["training"]["images_used"], kept_all["training"]["background_images_used"]) == (3, 2)
    assert [len(losses(tmp_path / name)) for name in ("without", "with")] == [1, 3]


@pytest.mark.usefixtures("no_evaluation")
def test_the_last_line_says_which_weights_are_the_best(
    two_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, decay, words in (("a", None, "as trained"), ("b", 0.5, "moving average (EMA), decay 0.5")):
        output = tmp_path / name
        assert main(own(two_images, output, ema_decay=decay)) == 0
        captured = capsys.readouterr()
        best = read_metadata(output / "best.safetensors")
        assert captured.err.splitlines()[-1] == (
            f"best.safetensors: mask AP {best['mask_ap']} after epoch {best['epoch']}, weights: {words}"
        )
        assert captured.out == f"{output}\n"
        assert best["weights"] == read_metadata(output / "last.safetensors")["weights"] == words


def test_a_run_ends_after_evaluations_without_gain_and_says_why(
    two_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "validate", _measuring([0.2, 0.1, 0.3, 0.3, 0.2]))
    args = own(two_images, tmp_path / "run", epochs=9, early_stop=2)
    assert main(args) == 0
    end = "ended early, after 2 evaluations without a gain in mask AP; best.safetensors: mask AP 0.3000 after epoch 3,"
    assert end in capsys.readouterr().err.splitlines()[-1]
    assert records(tmp_path / "run")[-1]["stopped_early"] == "2 evaluations without a gain"
    assert read_metadata(tmp_path / "run" / "last.safetensors")["epoch"] == "5"
    # The run is over: going on changes nothing, and says the same.
    before = records(tmp_path / "run")
    assert main(replace(args, resume="auto")) == 0
    assert end in capsys.readouterr().err.splitlines()[-1]
    assert records(tmp_path / "run") == before


@pytest.mark.parametrize("cut", [0, 1])
def test_a_resumed_run_ends_as_early_as_one_that_was_never_stopped(
    two_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    figures, args = [0.2, 0.1, 0.15], own(two_images, tmp_path / "whole", epochs=9, early_stop=2)
    monkeypatch.setattr(run, "validate", _measuring(figures))
    assert main(args) == 0
    monkeypatch.setattr(run, "validate", _measuring(figures))
    step = Trainer._step

    def stopped(self: Trainer, *args: Any) -> object:
        if self.progress.iteration == cut:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *args)

    args = replace(args, output=tmp_path / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopped)
        assert main(args) == 143
    assert main(replace(args, resume="auto")) == 0
    assert lasting(tmp_path / "cut") == lasting(tmp_path / "whole")


@pytest.mark.usefixtures("no_evaluation")
def test_a_warm_up_as_long_as_the_run_is_told(
    two_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for warmup, told in ((1, True), (0, False)):
        assert main(own(two_images, tmp_path / str(warmup), warmup=warmup)) == 0
        assert ("the warm-up takes 1 iterations, the whole run 1:" in capsys.readouterr().err) == told


def test_validation_without_objects_is_told(
    two_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = with_empty_images(tmp_path / "data", 3)
    args = own(two_images, tmp_path / "run", val_annotations=empty / "train.json", val_images=empty / "images")
    assert main(args) == 0
    said = capsys.readouterr().err
    assert "has no object to find, so no AP is measured, and there will be no best.safetensors" in said
    assert main(replace(args, output=tmp_path / "early", early_stop=2)) == 2
    assert "has no object to find, so that --early-stop has no AP to go by" in capsys.readouterr().err


def test_annotations_of_lvis_train_with_any_recipe_and_are_measured_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tiny_training.draw_dataset(tmp_path / "data", images=2)
    content = json.loads((data / "train.json").read_text())
    for image in content["images"]:
        image |= {"coco_url": f"http://images/{image.pop('file_name')}"}
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    for category in content["categories"]:
        category["frequency"] = "r"
    (data / "train.json").write_text(json.dumps(content))
    folders = {"images": data, "val_images": data}
    assert main(own(data, tmp_path / "run", **folders)) == 0
    assert "train.json: annotations of LVIS, the recipe's are of COCO" in capsys.readouterr().err
    assert "APr" in records(tmp_path / "run")[-1]["average_precision"]["segm"]
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["data"]["format"] == "lvis"


def test_annotations_of_coco_train_with_a_recipe_of_lvis(
    two_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lvis = replace(tiny_training.RECIPE.data, format="lvis", repeat_threshold=1.0)
    monkeypatch.setitem(RECIPES, "tiny", replace(tiny_training.RECIPE, data=lvis))
    assert main(own(two_images, tmp_path / "run")) == 0
    assert "AP50" in records(tmp_path / "run")[-1]["average_precision"]["boundary"]
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["data"]["format"], recipe["data"]["repeat_threshold"]) == ("coco", 1.0)
