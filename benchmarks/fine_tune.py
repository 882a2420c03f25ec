"""What fine-tuning is worth: the bundled nuclei model on two classes of nuclei, against random weights.

python -m benchmarks.fine_tune -o fine-tune.json
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.table import Table

import engines
from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report import Accuracy
from benchmarks.harness.report_file import write_report
from benchmarks.harness.tables import points
from benchmarks.harness.terminal import terminal
from refinemask.bundled import DEMO, NUCLEI
from refinemask.command import execute
from refinemask.evaluation.run import evaluate
from refinemask.json_files import read_json
from refinemask.options import require_at_least, require_own_files
from refinemask.recipes import RECIPES, Recipe, ValidationData
from refinemask.spelling import OptionalNumber, Output
from refinemask.training.loop import Execution
from refinemask.training.run import Plan, train

WEIGHTS = DEMO / "weights" / "refinemask-nuclei.safetensors"
RECIPE = "nuclei-demo"
CLASSES = ("small nucleus", "large nucleus")
FILES = {"train": "instances_train.json", "val": "instances_val.json"}
STARTS: dict[str, str | None] = {"the nuclei model": str(WEIGHTS), "random weights": None}
"""Where a run begins, by its name in the report."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Train on small and large nuclei, once from the bundled model and once from random weights, and evaluate both."""

    output: Output
    """JSON file for the report."""
    epochs: int = 4
    """Epochs of each run; warm-up and steps of the learning rate move in proportion."""
    limit: OptionalNumber = None
    """Number of the first images of each set; all if not given."""
    seed: int = 0
    """Seed of both runs."""
    threads: int = 2
    """CPU threads."""


@dataclass(frozen=True, kw_only=True)
class FineTuneReport:
    """Two runs of the same budget."""

    provenance: Provenance
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    images: dict[str, int]
    """Number of images by set, ``train`` and ``val``."""
    threshold: float
    """Area in pixels from which on a nucleus is large: the median of the training images."""
    objects: dict[str, dict[str, int]]
    """Number of nuclei by set and class."""
    accuracy: dict[str, Accuracy]
    """Figures on the held-out images, by where a run began."""


def two_classes(folder: Path, limit: int | None) -> tuple[float, dict[str, Any]]:
    """Write the bundled annotations with a class for small and one for large nuclei.

    Args:
        folder: folder of the new annotation files.
        limit: number of the first images of each set; None is all.

    Returns:
        The median area of the training objects in pixels, and the new annotations by set.
    """
    contents = {}
    for name, file in FILES.items():
        content: dict[str, Any] = read_json(NUCLEI / "annotations" / file, "annotations")
        images = content["images"][:limit]
        ids = {image["id"] for image in images}
        objects = [entry for entry in content["annotations"] if entry["image_id"] in ids]
        contents[name] = {**content, "images": images, "annotations": objects}
    threshold = float(median(entry["area"] for entry in contents["train"]["annotations"]))
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    for name, content in contents.items():
        content["categories"] = categories
        content["annotations"] = [
            {**entry, "category_id": 2 if entry["area"] >= threshold else 1} for entry in content["annotations"]
        ]
        (folder / FILES[name]).write_text(json.dumps(content))
    return threshold, contents


def _recipe(args: Args) -> Recipe:
    """The nuclei recipe in so many epochs, with annotation files beside each other and the bundled images."""
    recipe = RECIPES[RECIPE]
    share = args.epochs / recipe.train.epochs
    train = replace(
        recipe.train,
        epochs=args.epochs,
        step_epochs=tuple(round(step * share) for step in recipe.train.step_epochs),
        warmup_iterations=round(recipe.train.warmup_iterations * share),
        seed=args.seed,
    )
    images = str((NUCLEI / "images").resolve())
    return replace(
        recipe,
        data=replace(recipe.data, annotations=FILES["train"], images=images),
        validation=ValidationData(annotations=FILES["val"], images=images),
        train=train,
    )


def _accuracy(recipe: Recipe, data: Path, output: Path, init: str | None, threads: int) -> Accuracy:
    """Train, and evaluate the last weights on the held-out images."""
    execution = Execution(device=torch.device("cpu"))
    plan = Plan(name=RECIPE, recipe=recipe, data_root=data, output=output, execution=execution, init=init)
    train(replace(plan, evaluate_every=0))
    engine = engines.load(output / "last.safetensors", threads=threads)
    return evaluate(engine, data / FILES["val"], recipe.data.images).figures


def measure(args: Args) -> FineTuneReport:
    """Both runs, in a folder that is removed in the end."""
    torch.set_num_threads(args.threads)
    recipe = _recipe(args)
    with TemporaryDirectory(prefix="refinemask-") as name:
        folder = Path(name)
        threshold, contents = two_classes(folder, args.limit)
        accuracy = {
            start: _accuracy(recipe, folder, folder / str(number), init, args.threads)
            for number, (start, init) in enumerate(STARTS.items())
        }
    labels = {name: [entry["category_id"] for entry in content["annotations"]] for name, content in contents.items()}
    return FineTuneReport(
        provenance=provenance([WEIGHTS]),
        epochs=args.epochs,
        batch_size=recipe.train.batch_size,
        learning_rate=recipe.train.learning_rate,
        seed=args.seed,
        images={name: len(content["images"]) for name, content in contents.items()},
        threshold=threshold,
        objects={
            name: {title: found.count(label) for label, title in enumerate(CLASSES, start=1)}
            for name, found in labels.items()
        },
        accuracy=accuracy,
    )


def table(report: FineTuneReport) -> Table:
    """One row per run."""
    result = Table(title=f"{report.epochs} epochs on small and large nuclei", title_justify="left")
    result.add_column("begins with")
    for heading in ("box AP", "mask AP", "boundary AP"):
        result.add_column(heading, justify="right")
    for start, figures in report.accuracy.items():
        result.add_row(start, *(points(figures[kind]["AP"], 1) for kind in ("bbox", "segm", "boundary")))
    return result


def main(args: Args | None = None) -> int:
    """Write the report and print its table; returns the exit code."""
    return execute(Args, _fine_tune, args)


def _fine_tune(args: Args) -> None:
    require_at_least(1, epochs=args.epochs, limit=args.limit, threads=args.threads)
    require_own_files({"--output": args.output}, WEIGHTS)
    report = measure(args)
    write_report(report, args.output)
    terminal().print(table(report))


if __name__ == "__main__":
    raise SystemExit(main())
