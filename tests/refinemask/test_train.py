"""The training command: that it learns, repeats itself, resumes exactly, and stops in good order."""

import json
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
from refinemask.config import Window
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
    coco = read_coco(deep / tiny_training.RECIPE.validation.annotations)
    pictures = draw_first(detector, coco, deep / tiny_training.RECIPE.validation.images, torch.device("cpu"), 2)
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
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loaders: int
) -> None:
    data_root = tiny_training.draw_dataset(tmp_path / "data")
    for picture in (data_root / "images").iterdir():
        picture.write_bytes(b"")
    assert main(arguments(data_root, tmp_path / "run", workers=loaders)) == 2
    (told,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line.lower())
    assert told.startswith("error: 10 images in a row cannot be read; the first: ")


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
        ({"recipe": "tiny-frozen"}, "give --init imagenet"),
        ({"recipe": "tiny-caffe"}, "give --init a file of Caffe's weights"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert main(replace(arguments(data_root, tmp_path / "run"), **changes)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_a_run_is_not_overwritten(data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(data_root, tmp_path / "run")) == 0
    assert main(arguments(data_root, tmp_path / "run")) == 2
    assert "holds a run; go on with --resume auto, or give another --output" in capsys.readouterr().err
