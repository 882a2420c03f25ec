"""The training command: that it learns, repeats itself, resumes exactly, and stops in good order."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from refinemask import load_detector
from refinemask.config import Window
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.evaluation.measurement import Measurement
from refinemask.recipes import RECIPES, ValidationData
from refinemask.train import main
from refinemask.training import run
from refinemask.training.loop import Trainer
from refinemask.training.validation import draw_first
from refinemask.weights import read_metadata
from tests.support import tiny_training
from tests.support.image_files import png
from tests.support.training_runs import arguments, lasting, losses, records

pytestmark = pytest.mark.usefixtures("tiny_recipes")


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
