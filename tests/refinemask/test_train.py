"""The training command: that it learns, repeats itself, resumes exactly, and stops in good order."""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from refinemask import load_detector
from refinemask.config import Augmentation, Window
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.evaluation.measurement import Measurement
from refinemask.recipes import RECIPES, ValidationData
from refinemask.train import Args, main, resolve
from refinemask.training import run
from refinemask.training.loop import Trainer
from refinemask.training.validation import draw_first
from refinemask.weights import read_metadata
from tests.support import tiny_training
from tests.support.image_files import png


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(RECIPES, "tiny", tiny_training.RECIPE)
    frozen = tiny_training.FROZEN_RECIPE
    monkeypatch.setitem(RECIPES, "tiny-frozen", frozen)
    caffe = replace(frozen.model, backbone=replace(frozen.model.backbone, stride_in_1x1=True))
    monkeypatch.setitem(RECIPES, "tiny-caffe", replace(frozen, model=caffe))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share
    yield
    torch.set_num_threads(threads)


OWN: dict[str, Any] = {"annotations": Path("train.json"), "images": Path("images")}
"""Options of own data, the file relative to the data set's folder."""


def arguments(data_root: Path, output: Path, **overrides: Any) -> Args:
    defaults: dict[str, Any] = {"epochs": 2, "workers": 0, "log_every": 1, "evaluate_every": 0}
    return Args(recipe="tiny", data_root=data_root, output=output, device="cpu", **{**defaults, **overrides})


def records(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def lasting(output: Path) -> list[dict]:
    """The records without what a clock or the machine decides."""
    passing = {"images_per_second", "waiting_share", "memory_mb"}
    return [{key: value for key, value in record.items() if key not in passing} for record in records(output)]


def _then(function: Callable[..., Any], fail: Callable[..., None], count: int) -> Callable[..., Any]:
    """The same function, which fails when it has been called for the ``count``-th time."""
    calls = []

    def called(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        calls.append(args)
        if len(calls) == count:
            fail()
        return result

    return called


def losses(output: Path) -> list[dict[str, float]]:
    return [record["losses"] for record in records(output) if "losses" in record]


def test_the_network_learns_the_drawn_images(data_root: Path, tmp_path: Path) -> None:
    assert main(arguments(data_root, tmp_path / "run", epochs=25, learning_rate=0.02, evaluate_every=25)) == 0
    first, last = losses(tmp_path / "run")[0], losses(tmp_path / "run")[-1]
    # The box losses grow while proposals improve: there are more positives to pay for.
    for name, share in (("rpn_objectness", 0.2), ("semantic", 0.4), ("mask_28", 0.8)):
        assert last[name] < share * first[name], name
    figures = records(tmp_path / "run")[-1]["average_precision"]
    assert figures["bbox"]["AP50"] > 0.1
    assert load_detector(tmp_path / "run" / "best.safetensors").config.class_names == ("square", "disk")


def test_a_seed_decides_everything(data_root: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert main(arguments(data_root, tmp_path / name, seed=seed)) == 0
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")
    a, b = (load_file(tmp_path / name / "last.safetensors") for name in "ab")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_deep_images_train_as_those_of_8_bits(data_root: Path, tmp_path: Path) -> None:
    shutil.copytree(data_root, deep := tmp_path / "deep")
    for path in deep.rglob("*.png"):
        path.write_bytes(png(read_image(path).astype(np.uint16) * 16))
    window = Window(low=0, high=16 * 255)
    for name, root, option in (("plain", data_root, None), ("as-deep", deep, window)):
        assert main(arguments(root, tmp_path / name, epochs=1, evaluate_every=1, window=option)) == 0
    assert losses(tmp_path / "as-deep") == losses(tmp_path / "plain")
    assert records(tmp_path / "as-deep")[-1] == records(tmp_path / "plain")[-1], "the same average precision"
    assert load_detector(tmp_path / "as-deep" / "last.safetensors").config.preprocessing.window == window
    detector = load_detector(tmp_path / "as-deep" / "best.safetensors")
    validation = tiny_training.RECIPE.validation
    assert validation is not None
    coco = read_coco(deep / validation.annotations)
    pictures = draw_first(detector, coco, deep / validation.images, torch.device("cpu"), 2)
    assert len(list(pictures)) == 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ema_decay": 0.5, "accumulate": 2},
        # CPUs are slow in fp16, but the scaler of its gradients is the same everywhere.
        pytest.param({"amp": "fp16"}, marks=pytest.mark.slow),
    ],
)
def test_resuming_equals_never_having_stopped(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    whole, cut = (arguments(data_root, tmp_path / name, **options) for name in ("whole", "cut"))
    assert main(whole) == 0

    class PowerCutError(Exception):
        pass

    step = Trainer._step

    def fail_in_the_second_epoch(self: Trainer, *args: Any) -> object:
        if self.progress.iteration == 3:
            raise PowerCutError
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", fail_in_the_second_epoch)
        with pytest.raises(PowerCutError):
            main(cut)
    assert len(losses(tmp_path / "cut")) == 3  # the state is of iteration 2
    assert main(replace(cut, resume="auto")) == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert [record["iteration"] for record in records(tmp_path / "cut")] == [1, 2, 3, 4]
    whole_weights, cut_weights = (load_file(tmp_path / n / "last.safetensors") for n in ("whole", "cut"))
    assert all(torch.equal(whole_weights[key], cut_weights[key]) for key in whole_weights)


def test_a_run_directory_says_what_was_run(data_root: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert main(arguments(data_root, output, evaluate_every=2)) == 0
    recipe = json.loads((output / "recipe.json").read_text())
    assert recipe["name"] == "tiny"
    assert recipe["model"]["class_names"] == ["square", "disk"]
    environment = json.loads((output / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["execution"]["precision"] == "fp32"
    assert [record["epoch"] for record in records(output) if "average_precision" in record] == [2]
    for record in (record for record in records(output) if "losses" in record):
        assert {"epoch", "loss", "learning_rate", "images_per_second", "waiting_share", "memory_mb"} <= record.keys()
        assert record["loss"] == pytest.approx(sum(record["losses"].values()))
    assert {path.name for path in output.glob("*.*")} >= {"state.pt", "last.safetensors", "metrics.jsonl"}


def test_tensorboard_has_the_numbers_and_some_pictures(data_root: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    output = tmp_path / "run"
    assert main(arguments(data_root, output, tensorboard=True, evaluate_every=2)) == 0
    events = accumulator.EventAccumulator(str(output / "tensorboard")).Reload()
    assert [scalar.step for scalar in events.Scalars("losses/semantic")] == [1, 2, 3, 4]
    assert "average_precision/boundary/AP" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["image 1", "image 2", "image 3", "image 4"]


def test_the_best_weights_are_those_of_the_best_evaluation(data_root: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    figures = iter([0.2, 0.6, 0.4])
    with pytest.MonkeyPatch.context() as patch:

        def measured(*_: object) -> Measurement:
            scores = {"bbox": {"AP": 0.0}, "segm": {"AP": next(figures)}}
            return Measurement(figures=scores, images=8, skipped=(), max_detections=100)

        patch.setattr(run, "validate", measured)
        assert main(arguments(data_root, output, epochs=3, evaluate_every=1)) == 0
    best, last = (read_metadata(output / f"{name}.safetensors") for name in ("best", "last"))
    assert (best["epoch"], best["mask_ap"], last["epoch"]) == ("2", "0.6000", "3")


def test_an_evaluation_that_was_cut_off_is_made_up_for(data_root: Path, tmp_path: Path) -> None:
    class PowerCutError(Exception):
        pass

    def fail(*_: object) -> Measurement:
        raise PowerCutError

    output = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "validate", fail)
        with pytest.raises(PowerCutError):
            main(arguments(data_root, output, evaluate_every=2))
    for _ in range(2):
        assert main(arguments(data_root, output, evaluate_every=2, resume="auto")) == 0
        assert [record["epoch"] for record in records(output) if "average_precision" in record] == [2]
    assert (output / "best.safetensors").is_file()


@pytest.mark.parametrize("cut_off", ["evaluation", "best weights"])
def test_a_run_that_was_cut_off_after_an_evaluation_has_every_record_once(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_off: str
) -> None:
    class PowerCutError(Exception):
        pass

    def fail(*_: object, **__: object) -> None:
        raise PowerCutError

    data = tiny_training.draw_dataset(tmp_path / "data")
    # Skipped in training and in each evaluation.
    (data / "images" / "3.png").write_bytes(b"")
    whole, cut = (arguments(data, tmp_path / name, evaluate_every=1) for name in ("whole", "cut"))
    assert main(whole) == 0
    with monkeypatch.context() as patch:
        if cut_off == "evaluation":
            patch.setattr(run._Epochs, "_tell", _then(run._Epochs._tell, fail, 1))
        else:
            patch.setattr(run, "save_detector", _then(run.save_detector, fail, 2))
        with pytest.raises(PowerCutError):
            main(cut)
    assert "average_precision" in records(tmp_path / "cut")[-1]
    assert main(replace(cut, resume="auto")) == 0
    assert sum("average_precision" in record for record in records(tmp_path / "cut")) == 2
    assert lasting(tmp_path / "cut") == lasting(tmp_path / "whole")


def test_validation_data_are_checked_before_the_first_iteration(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((data_root / "train.json").read_text())
    content["categories"][0]["name"] = "cube"
    (tmp_path / "other.json").write_text(json.dumps(content))
    for validation, message in (
        (ValidationData(annotations="train.json", images="val"), "8 of the 8 files for the images of "),
        (
            ValidationData(annotations=str(tmp_path / "other.json"), images="images"),
            "of which none is category 3 (cube)",
        ),
    ):
        monkeypatch.setitem(RECIPES, "tiny", replace(tiny_training.RECIPE, validation=validation))
        assert main(arguments(data_root, tmp_path / "run", evaluate_every=2)) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_validation_leaves_out_an_unreadable_image_and_says_so(tmp_path: Path) -> None:
    data_root = tiny_training.draw_dataset(tmp_path / "data")
    (data_root / "images" / "3.png").write_bytes(b"")
    output = tmp_path / "run"
    assert main(arguments(data_root, output, evaluate_every=2, tensorboard=True)) == 0
    *_, skipped, evaluated = records(output)
    assert "3.png: the file is empty" in skipped["skipped"]
    assert "average_precision" in evaluated


def test_a_state_goes_on_with_its_own_images_only(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(data_root, tmp_path / "run", epochs=1)) == 0
    other = tiny_training.draw_dataset(tmp_path / "data", images=12)
    assert main(arguments(other, tmp_path / "run", epochs=1, resume="auto")) == 2
    assert "belongs to another run" in capsys.readouterr().err


def test_machines_with_different_states_do_not_train_together(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "gather", lambda iteration: [iteration, 20])
    assert main(arguments(data_root, tmp_path / "run")) == 2
    assert "the processes start at the iterations [0, 20]" in capsys.readouterr().err


@pytest.mark.parametrize("loaders", [0, 1])
def test_an_error_in_a_loader_process_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], loaders: int
) -> None:
    # Lines that are none of an error name the folder.
    tmp_path = tmp_path_factory.mktemp("loaders")
    data_root = tiny_training.draw_dataset(tmp_path / "data")
    for picture in (data_root / "images").iterdir():
        picture.write_bytes(b"")
    assert main(arguments(data_root, tmp_path / "run", workers=loaders)) == 2
    (told,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line.lower())
    assert told.startswith("error: 8 images in a row cannot be read; the first: ")


def test_a_second_ctrl_c_ends_at_once(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer._step

    def interrupted_twice(self: Trainer, *args: Any) -> object:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(Trainer, "_step", interrupted_twice)
    assert main(arguments(data_root, tmp_path / "run", workers=2)) == 130
    assert active_children() == []
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_between_two_records_saves_the_state_and_the_resumed_run_is_the_same(
    data_root: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    whole, cut = (arguments(data_root, tmp_path / name, log_every=2, batch_size=2) for name in ("whole", "cut"))
    assert main(whole) == 0
    step = Trainer._step

    def stopped(self: Trainer, *args: Any) -> object:
        signal.raise_signal(number)
        return step(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", stopped)
        assert main(cut) == code
        assert losses(tmp_path / "cut") == []
    assert main(replace(cut, resume="auto")) == 0
    assert len(losses(tmp_path / "whole")) == 4
    assert lasting(tmp_path / "cut") == lasting(tmp_path / "whole")


def test_profiling_leaves_a_trace_and_no_run(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert main(arguments(data_root, output, profile=True)) == 0
    assert [path.name for path in output.iterdir()] == ["profile.json.gz"]
    assert "convolution" in capsys.readouterr().out


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
        ({"output": Path(__file__)}, "test_train.py: is a file, expected the directory of a run"),
        ({"device": "gpu"}, "--device is gpu; this project computes on cpu or cuda, and here there is cpu"),
        ({"device": "mps"}, "--device is mps; this project computes on cpu or cuda, and here there is cpu"),
        ({"output": Path(__file__) / "run"}, "test_train.py/run: cannot be made: Not a directory"),
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
