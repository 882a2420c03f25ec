"""What the campaign of kills runs: small trainings, evaluations, exports and predictions, each as a command."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

import refinemask
from refinemask.bundled import PHOTOS
from refinemask.training.loop import Execution
from refinemask.weights import save_detector
from tests.support import tiny_training
from tests.support.tiny_detector import make_tiny_detector

PASSING = {"images_per_second", "waiting_share", "memory_mb"}
"""What a clock or the machine decides of a record of metrics."""
IMAGES = 60

TRAIN = """
from refinemask.exit_codes import interrupted_at_once
with interrupted_at_once():
    from tests.support import tiny_training
raise SystemExit(tiny_training.run())
"""
"""The tiny training, started as ``python -m refinemask.train`` starts: Ctrl-C while it imports is one line."""


@dataclass(frozen=True)
class Job:
    """A command whose run can be cut off and begun again."""

    name: str
    command: Callable[[Path], list[str]]
    """Program and options that write into a directory, or go on with what lies there."""
    figures: Callable[[Path], Any]
    """What a finished run's directory holds, without what a clock decides."""


def make_jobs(inputs: Path) -> list[Job]:
    """The jobs, with their inputs written into a directory."""
    data = tiny_training.draw_dataset(inputs / "few")
    many = tiny_training.draw_dataset(inputs / "many", images=IMAGES)
    checkpoint = inputs / "tiny.safetensors"
    save_detector(make_tiny_detector(), checkpoint, recipe="tiny")
    trained = inputs / "trained.safetensors"
    _train(trained, many)

    def train(output: Path) -> list[str]:
        options = ["--epochs", "4", "--workers", "2", "--evaluate-every", "1", "--log-every", "3", "--batch-size", "2"]
        where = ["--data-root", str(data), "-o", str(output), "--resume", "auto", "--device", "cpu"]
        return [sys.executable, "-c", TRAIN, "--recipe", "tiny", *where, *options]

    def evaluate(output: Path) -> list[str]:
        where = ["--annotations", str(many / "train.json"), "--images", str(many / "images"), "--threads", "1"]
        # Several images are on their way when the kill comes. PyTorch rounds by what is in a batch: one image is.
        where += ["--workers", "2"]
        files = {"predictions": "predictions.jsonl", "results": "results.json", "output": "figures.json"}
        written = [word for option, name in files.items() for word in (f"--{option}", str(output / name))]
        return [sys.executable, "-m", "refinemask.evaluate", str(trained), *where, *written]

    def export(output: Path) -> list[str]:
        options = ["--verify-images", str(PHOTOS), "-o", str(output / "tiny.onnx")]
        return [sys.executable, "-m", "export.to_onnx", str(checkpoint), *options]

    def predict(output: Path) -> list[str]:
        options = ["--model", str(trained), "-o", str(output), "--threads", "1"]
        return [sys.executable, "-m", "refinemask.predict", str(many / "images"), *options]

    return [
        Job("training", train, _training_figures),
        Job("evaluation", evaluate, _evaluation_figures),
        Job("export", export, _all_bytes),
        Job("prediction", predict, _all_bytes),
    ]


def _train(weights: Path, data: Path) -> None:
    """Weights of a detector that finds things, so that there are results to compare."""
    torch.set_num_threads(1)
    recipe = replace(tiny_training.RECIPE, train=replace(tiny_training.RECIPE.train, epochs=3, learning_rate=0.02))
    execution = Execution(device=torch.device("cpu"))
    plan = refinemask.Plan(
        name="tiny",
        recipe=recipe,
        data_root=data,
        output=weights.parent / "run",
        execution=execution,
        evaluate_every=0,
    )
    refinemask.train(plan)
    (weights.parent / "run" / "last.safetensors").rename(weights)


def _training_figures(output: Path) -> Any:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in record.items() if name not in PASSING} for record in records]
    return kept, [_weights(output / f"{name}.safetensors") for name in ("last", "best")]


def _weights(path: Path) -> dict[str, str]:
    """SHA-256 of each tensor: the order of the file's metadata is not always the same."""
    return {name: hashlib.sha256(tensor.tobytes()).hexdigest() for name, tensor in load_file(path).items()}


def _evaluation_figures(output: Path) -> Any:
    figures = json.loads((output / "figures.json").read_text())["figures"]
    # In their order: nothing twice, and nothing lost.
    lines = (output / "predictions.jsonl").read_text().splitlines()
    return figures, json.loads((output / "results.json").read_text()), lines


def _all_bytes(output: Path) -> Any:
    return {path.name: _digest(path) for path in output.iterdir() if path.is_file()}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def damaged(output: Path, whole: Path) -> list[str]:
    """Files of a run that was cut off which are not whole.

    Args:
        output: the directory of that run.
        whole: that of an uninterrupted run.
    """
    found = []
    for path in output.rglob("*"):
        # Temporary files are judged after the next run.
        if path.is_file() and not path.name.startswith("."):
            try:
                _read(path, whole)
            except Exception as error:
                found.append(f"{path.name}: {type(error).__name__} {error}"[:200])
    return found


def _read(path: Path, whole: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        # The last line may be cut off: a run that goes on drops it.
        for line in path.read_text().split("\n")[:-1]:
            json.loads(line)
    elif path.suffix == ".png":
        np.asarray(Image.open(path))
    elif path.suffix == ".safetensors":
        with safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118
                file.get_tensor(name)
    elif path.suffix == ".pt":
        torch.load(path, weights_only=True)
    elif path.suffix == ".onnx" and _digest(path) != _digest(whole / path.name):
        raise ValueError("differs from the file of an uninterrupted run")
