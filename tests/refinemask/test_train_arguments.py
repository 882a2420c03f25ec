"""Arguments of the training command: what they change, and which are refused."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refinemask.config import Augmentation
from refinemask.recipes import RECIPES
from refinemask.train import Args, main, resolve
from tests.support.training_runs import OWN, arguments

pytestmark = pytest.mark.usefixtures("tiny_recipes")


def test_the_batch_size_takes_the_learning_rate_along(capsys: pytest.CaptureFixture[str]) -> None:
    coco = "refinemask-r50-coco-1x"
    assert resolve(Args(recipe=coco, batch_size=8)).train.learning_rate == pytest.approx(0.01)
    assert "learning rate 0.01: the recipe's 0.02 is for batches of 16" in capsys.readouterr().err
    assert resolve(Args(recipe=coco, batch_size=8, learning_rate=0.03)).train.learning_rate == 0.03
    assert capsys.readouterr().err == ""


def test_epochs_take_the_steps_along() -> None:
    assert resolve(Args(recipe="refinemask-r50-coco-1x", epochs=24)).train.step_epochs == (16, 22)


def test_print_shows_the_resolved_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Args(recipe="mask-rcnn-r50-cityscapes", print=True, seed=5)) == 0
    assert json.loads(capsys.readouterr().out)["train"]["seed"] == 5


def test_augmentation_is_trained_with_and_recorded(data_root: Path, tmp_path: Path) -> None:
    given = replace(arguments(data_root, tmp_path / "run"), scale_jitter=(0.5, 2.0), crop=(48, 64), copy_paste=0.5)
    assert main(replace(given, epochs=1, colour=0.3, rotate90=0.5)) == 0
    recorded = json.loads((tmp_path / "run" / "recipe.json").read_text())["data"]["augmentation"]
    expected = {"scale_jitter": [0.5, 2.0], "crop": [48, 64], "colour": 0.3, "rotation": 0.5, "copy_paste": 0.5}
    assert recorded == expected


def test_published_recipes_have_no_augmentation_but_sides_and_flips() -> None:
    assert {recipe.data.augmentation for recipe in RECIPES.values()} == {Augmentation()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "nuclei-dem"}, "no recipe 'nuclei-dem' (did you mean 'nuclei-demo'?); there are refinemask-r50-"),
        ({"recipe": "refinemask-r50-coco-1x", "data_root": None}, "--data-root is missing"),
        ({"data_root": Path("/nowhere")}, "/nowhere/train.json: "),
        ({"resume": "/nowhere/state.pt"}, "/nowhere/state.pt: no such training state"),
        ({"init": "/nowhere/w.safetensors"}, "/nowhere/w.safetensors: no such file"),
        ({"epochs": 0}, "--epochs is 0; expected at least 1"),
        ({"workers": -1}, "--workers is -1; expected at least 0"),
        ({"seed": 1 << 63}, "--seed is 9223372036854775808; expected 0 to 2^63 - 1"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0; expected more than 0"),
        ({"amp": "tf32"}, "--amp tf32 does not run on a CPU"),
        ({"ema_decay": 2.0}, "--ema-decay is 2.0; expected a number between 0 and 1"),
        ({"output": Path(__file__)}, "test_train_arguments.py: is a file, expected the directory of a run"),
        ({"device": "gpu"}, "--device is gpu; this project computes on cpu or cuda, and here there is cpu"),
        ({"device": "mps"}, "--device is mps; this project computes on cpu or cuda, and here there is cpu"),
        ({"output": Path(__file__) / "run"}, "test_train_arguments.py/run: cannot be made: Not a directory"),
        ({"batch_size": 3, "accumulate": 2}, "batch size 3 cannot be divided into 2 parts"),
        ({"recipe": "tiny-frozen"}, "give --init a file, such as a detector of the same model"),
        ({"recipe": "refinemask-r50-coco-1x"} | OWN, "give --init imagenet or a file"),
        ({"freeze": "backbone"}, "give --init a file, such as a detector of the same model"),
        ({"images": Path("i")}, "--images i: needs --annotations, the file that lists its images"),
        ({"val_images": Path("i")}, "--val-images i: needs --val-annotations, the file that lists its images"),
        (OWN | {"images": Path("/nowhere")}, "of the 8 files for the images of"),
        (OWN | {"images": Path("/nowhere")}, "the first is '1.png'; check --images"),
        (OWN | {"images": None}, "the first is '1.png'; check --images"),
        (
            OWN | {"val_annotations": Path("train.json"), "val_images": Path("/nowhere"), "evaluate_every": 1},
            "the first is '1.png'; check --val-images",
        ),
        ({"val_annotations": Path("absent.json"), "evaluate_every": 1}, "absent.json: "),
        ({"data_root": None} | {"recipe": "htc-r50-coco-1x"} | OWN, "--data-root is missing: the directory that holds"),
        ({"data_root": None}, "holds train.json; for data of your own give --annotations and --images"),
        (OWN | {"early_stop": 2}, "--early-stop is 2, but nothing is evaluated; give --val-annotations"),
        ({"early_stop": 2}, "--early-stop is 2, but nothing is evaluated; give --evaluate-every 1 or more"),
        ({"early_stop": 0}, "--early-stop is 0; expected at least 1"),
        ({"warmup": -1}, "--warmup is -1; expected at least 0"),
        ({"detections": 0}, "--detections is 0; expected 1 to 3840"),
        ({"detections": 3841}, "--detections is 3841; expected 1 to 3840"),
        ({"score_threshold": 1.5}, "--score-threshold is 1.5; expected a number from 0 to 1"),
        ({"score_threshold": math.nan}, "--score-threshold is nan; expected a number from 0 to 1"),
        ({"anchor_scale": 0.0}, "--anchor-scale is 0.0; expected 0.000001 to 1000000"),
        ({"anchor_scale": math.inf}, "--anchor-scale is inf; expected 0.000001 to 1000000"),
        ({"image_size": (800, 64)}, "--image-size is 800x64; expected SHORTxLONG, 32 to 65536 pixels, the shorter"),
        ({"image_size": (16, 64)}, "--image-size is 16x64; expected SHORTxLONG, 32 to 65536 pixels"),
        ({"image_size": (60_000, 60_000)}, "--image-size is 60000x60000: short_side is 60000"),
        ({"scale_jitter": (2.0, 1.0)}, "--scale-jitter is 2 1; expected two factors of 0.01 to 10, the smaller first"),
        ({"scale_jitter": (0.0, 1.0)}, "--scale-jitter is 0 1; expected two factors"),
        ({"crop": (0, 64)}, "--crop is 0x64; expected a height and width of 1 to 65536"),
        ({"colour": 1.5}, "--colour is 1.5; expected 0 to 1"),
        ({"rotate90": -1.0}, "--rotate90 is -1.0; expected 0 to 1"),
        ({"copy_paste": float("nan")}, "--copy-paste is nan; expected 0 to 1"),
        ({"recipe": "tiny-caffe"}, "give --init a file of Caffe's weights"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    # Files of the command line are those of the data set, or nowhere.
    named = {
        name: data_root / changes[name]
        for name in ("annotations", "images", "val_annotations")
        if changes.get(name) not in (None, Path("i"))
    }
    assert main(replace(arguments(data_root, tmp_path / "run"), **{**changes, **named})) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_a_run_is_not_overwritten(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(data_root, tmp_path / "run")) == 0
    assert main(arguments(data_root, tmp_path / "run")) == 2
    assert "holds a run; go on with --resume auto, or give another --output" in capsys.readouterr().err
