"""Train a detector: ``python -m refinemask.train --recipe nuclei-demo --output runs/nuclei``."""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import tyro

from refinemask.data.coco import read_coco
from refinemask.data.training import TrainingDataset
from refinemask.files import UserError, atomic_write
from refinemask.modeling.detector import Detector
from refinemask.recipes import RECIPES, Recipe
from refinemask.training.checkpoint import config_hash
from refinemask.training.loop import Execution, Precision, Trainer
from refinemask.training.report import Report
from refinemask.weights import load_detector, save_detector

DEMO_ROOT = Path(__file__).resolve().parents[1] / "demo" / "nuclei"


@dataclass(frozen=True, kw_only=True)
class Args:
    """Train a detector by a named recipe."""

    recipe: str
    """One of the names in refinemask/recipes.py."""
    output: Path | None = None
    """Directory of the run; runs/RECIPE if not given."""
    data_root: Path | None = None
    """Directory under which the recipe's annotation file and image folder lie; the nuclei recipes bring theirs."""
    resume: Path | None = None
    """A state.pt to go on from, with the same recipe and overrides."""
    init: Path | None = None
    """Weights to start from: a .safetensors of this project with the same classes."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """PyTorch device."""
    amp: Precision = "fp32"
    """bf16 computes convolutions and matrix products in bfloat16."""
    channels_last: bool = True
    """Memory format of the weights; faster nearly everywhere."""
    accumulate: int = 1
    """Split every batch into this many parts, for lack of memory."""
    workers: int = 2
    """Processes that load images."""
    epochs: int | None = None
    """Override; the learning rate's steps move in proportion."""
    batch_size: int | None = None
    """Override; the learning rate is scaled in proportion unless it is given too."""
    learning_rate: float | None = None
    """Override."""
    seed: int | None = None
    """Override."""
    print: bool = False
    """Show the resolved recipe as JSON and stop."""


def resolve(args: Args) -> Recipe:
    """The recipe with the command line's overrides.

    Raises:
        UserError: there is no such recipe.
    """
    if args.recipe not in RECIPES:
        raise UserError(f"no recipe {args.recipe!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[args.recipe]
    train = recipe.train
    if args.epochs is not None:
        steps = tuple(round(step * args.epochs / train.epochs) for step in train.step_epochs)
        train = replace(train, epochs=args.epochs, step_epochs=steps)
    if args.batch_size is not None:
        rate = train.learning_rate * args.batch_size / train.batch_size
        if args.learning_rate is None:
            print(f"learning rate {rate:g}: scaled with the batch size from {train.learning_rate:g}", file=sys.stderr)
        train = replace(train, batch_size=args.batch_size, learning_rate=rate)
    if args.learning_rate is not None:
        train = replace(train, learning_rate=args.learning_rate)
    if args.seed is not None:
        train = replace(train, seed=args.seed)
    return replace(recipe, train=train)


def train(args: Args) -> Path:
    """Run the training and return the file with the final weights."""
    recipe = resolve(args)
    output = args.output or Path("runs") / args.recipe
    root = _data_root(args)
    coco = read_coco(root / recipe.data.annotations)
    model = replace(recipe.model, class_names=coco.class_names, category_ids=coco.category_ids)
    dataset = TrainingDataset(coco, root / recipe.data.images, recipe.data)

    torch.manual_seed(recipe.train.seed)
    detector = Detector(model)
    if args.init is not None:
        detector.load_state_dict(load_detector(args.init).state_dict(), strict=False)
    execution = Execution(
        device=torch.device(args.device),
        precision=args.amp,
        channels_last=args.channels_last,
        accumulate=args.accumulate,
        workers=args.workers,
    )
    trainer = Trainer(detector, dataset, recipe.train, execution, config_hash(model, recipe.data, recipe.train))
    if args.resume is not None:
        trainer.resume(args.resume)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / "recipe.json") as path:
        path.write_text(json.dumps(asdict(replace(recipe, model=model)), indent=2))
    report = Report(
        output / "metrics.jsonl",
        start=trainer.progress.iteration,
        total=trainer.iterations,
        per_epoch=trainer.sampler.iterations_per_epoch,
        images=recipe.train.batch_size,
        every=execution.log_every,
    )
    last = output / "last.safetensors"

    def after_epoch(epoch: int) -> None:
        trainer.save(output / "state.pt")
        save_detector(detector, last, recipe=args.recipe, metadata={"epoch": str(epoch)})

    trainer.run(report, after_epoch)
    report.close()
    return last


def _data_root(args: Args) -> Path:
    if args.data_root is not None:
        return args.data_root
    if args.recipe.startswith("nuclei-demo"):
        return DEMO_ROOT
    raise UserError(f"--data-root is missing: the directory that holds {RECIPES[args.recipe].data.annotations}")


def main(args: Args | None = None) -> int:
    """The command line. Exit code 0, or 2 for bad input."""
    args = args or tyro.cli(Args)
    try:
        if args.print:
            print(json.dumps(asdict(resolve(args)), indent=2))
            return 0
        print(train(args))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
