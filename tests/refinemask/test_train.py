"""The training command: that it learns, repeats itself, resumes exactly, and stops in good order."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training
import torch
from safetensors.torch import load_file

from refinemask import load_detector
from refinemask.recipes import RECIPES
from refinemask.train import Args, main
from refinemask.training.loop import Trainer


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(RECIPES, "tiny", tiny_training.RECIPE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share
    yield
    torch.set_num_threads(threads)


def arguments(data_root: Path, output: Path, **overrides: object) -> Args:
    defaults = {"epochs": 2, "workers": 0, "log_every": 1, "evaluate_every": 0}
    return Args(recipe="tiny", data_root=data_root, output=output, device="cpu", **{**defaults, **overrides})


def records(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def losses(output: Path) -> list[dict[str, float]]:
    return [record["losses"] for record in records(output) if "losses" in record]


def test_the_network_learns_the_drawn_images(data_root: Path, tmp_path: Path) -> None:
    run = arguments(data_root, tmp_path / "run", epochs=25, learning_rate=0.02, evaluate_every=25)
    assert main(run) == 0
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


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_resuming_equals_never_having_stopped(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float | None
) -> None:
    whole, cut = (arguments(data_root, tmp_path / name, ema_decay=ema_decay) for name in ("whole", "cut"))
    assert main(whole) == 0

    class PowerCutError(Exception):
        pass

    step = Trainer._step

    def fail_in_the_second_epoch(self: Trainer, *args: object) -> object:
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
