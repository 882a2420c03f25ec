"""Train a detector: ``python -m refinemask.train --recipe nuclei-demo --output runs/nuclei``.

On several GPUs, or machines: ``torchrun --nproc-per-node 8 -m refinemask.train --recipe … --data-root …``.
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.errors import record

from refinemask.bundled import NUCLEI
from refinemask.command import execute
from refinemask.config import with_window
from refinemask.distributed import is_main, process_group
from refinemask.files import UserError
from refinemask.nearest import nearest
from refinemask.recipes import RECIPES, Recipe
from refinemask.spelling import OptionalName, OptionalNumber, OptionalOutput, OptionalPath, OptionalWindow
from refinemask.training.loop import Execution, Precision
from refinemask.training.preemption import catch_preemption
from refinemask.training.run import Plan, train

LIMITS: list[tuple[tuple[str, ...], Callable[[float], bool], str]] = [
    (("epochs", "batch_size", "accumulate", "log_every"), lambda value: value >= 1, "at least 1"),
    (("workers", "evaluate_every"), lambda value: value >= 0, "at least 0"),
    (("seed",), lambda value: 0 <= value < 1 << 63, "0 to 2^63 - 1"),
    (("learning_rate",), lambda value: 0 < value < math.inf, "more than 0"),
    (("ema_decay",), lambda value: 0 < value < 1, "a number between 0 and 1"),
]
"""What the values of the command line's options may be."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Train a detector by a named recipe."""

    recipe: str
    """One of the names in refinemask/recipes.py, such as refinemask-r50-coco-1x or nuclei-demo."""
    output: OptionalOutput = None
    """Directory of the run; runs/RECIPE if not given."""
    data_root: OptionalPath = None
    """Directory under which the recipe's annotation files and image folders lie; the nuclei recipes bring theirs."""
    resume: str | None = None
    """A state.pt to go on from with the same recipe and overrides; "auto": that of the output, if there is one."""
    init: str | None = None
    """Weights to start from: "imagenet", a backbone's file, or a .safetensors of this project of the same model."""
    device: OptionalName = None
    """PyTorch device; if not given, a GPU if there is one, or else the CPU."""
    amp: Precision = "fp32"
    """Type of convolutions and matrix products; tf32 needs a GPU, and fp16 scales its gradients."""
    channels_last: bool = True
    """Memory format of the weights; faster nearly everywhere."""
    compile: bool = False
    """Compile backbone and FPN: minutes at the start, then faster on a GPU."""
    accumulate: int = 1
    """Split every batch into so many parts, one after another, for lack of memory."""
    ema_decay: float | None = None
    """Evaluate and keep a moving average of the weights, such as with 0.999."""
    workers: int = 2
    """Processes per GPU that load images."""
    evaluate_every: int = Plan.evaluate_every
    """Epochs between evaluations on the recipe's validation images, besides the last epoch's; 0 is never."""
    log_every: int = Plan.log_every
    """Iterations per line of metrics.jsonl."""
    tensorboard: bool = False
    """Write TensorBoard events, too."""
    epochs: OptionalNumber = None
    """Number of epochs, in place of the recipe's; the learning rate's steps move in proportion."""
    batch_size: OptionalNumber = None
    """Images per iteration over all GPUs, in place of the recipe's; a learning rate not given follows in proportion."""
    learning_rate: float | None = None
    """Learning rate after the warm-up, in place of the recipe's."""
    seed: OptionalNumber = None
    """Seed of everything random, in place of the recipe's."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; recorded in the checkpoints."""
    profile: bool = False
    """Write a PyTorch profiler trace of 20 steps to OUTPUT/profile.json.gz, and stop."""
    print: bool = False
    """Show the resolved recipe as JSON, and stop."""


def resolve(args: Args) -> Recipe:
    """The recipe with the command line's overrides.

    Raises:
        UserError: there is no such recipe, or an override makes no sense.
    """
    if args.recipe not in RECIPES:
        meant = nearest(args.recipe, RECIPES)
        raise UserError(f"no recipe {args.recipe!r}{meant}; there are {', '.join(RECIPES)}")
    for names, fits, expected in LIMITS:
        for name in names:
            if (value := getattr(args, name)) is not None and not fits(value):
                raise UserError(f"--{name.replace('_', '-')} is {value}; expected {expected}")
    recipe = RECIPES[args.recipe]
    train = recipe.train
    if args.epochs is not None:
        steps = tuple(round(step * args.epochs / train.epochs) for step in train.step_epochs)
        train = replace(train, epochs=args.epochs, step_epochs=steps)
    if args.batch_size is not None:
        rate = train.learning_rate * args.batch_size / train.batch_size
        if args.learning_rate is None and rate != train.learning_rate:
            print(
                f"learning rate {rate:g}: the recipe's {train.learning_rate:g} is for batches of {train.batch_size}",
                file=sys.stderr,
            )
        train = replace(train, batch_size=args.batch_size, learning_rate=rate)
    if args.learning_rate is not None:
        train = replace(train, learning_rate=args.learning_rate)
    if args.seed is not None:
        train = replace(train, seed=args.seed)
    return replace(recipe, model=with_window(recipe.model, args.window), train=train)


def plan(args: Args, device: torch.device) -> Plan:
    """Everything the command line decides.

    Raises:
        UserError: an argument is wrong or missing, or the output holds another run.
    """
    recipe = resolve(args)
    if args.amp == "tf32" and device.type == "cpu":
        raise UserError("--amp tf32 does not run on a CPU: TensorFloat-32 is a type of GPUs; use fp32 or bf16")
    output = args.output or Path("runs") / args.recipe
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, expected the directory of a run; give another --output")
    return Plan(
        name=args.recipe,
        recipe=recipe,
        data_root=_data_root(args),
        output=output,
        execution=Execution(
            device=device,
            precision=args.amp,
            channels_last=args.channels_last,
            compile=args.compile,
            accumulate=args.accumulate,
            workers=args.workers,
            ema_decay=args.ema_decay,
        ),
        resume=_resume(args, output / "state.pt"),
        init=args.init,
        evaluate_every=args.evaluate_every,
        log_every=args.log_every,
        tensorboard=args.tensorboard,
        profile=args.profile,
    )


def _data_root(args: Args) -> Path:
    if args.data_root is not None:
        return args.data_root
    if args.recipe.startswith("nuclei-demo"):
        return NUCLEI
    raise UserError(f"--data-root is missing: the directory that holds {RECIPES[args.recipe].data.annotations}")


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _resume(args: Args, state: Path) -> Path | None:
    if args.resume == "auto":
        return state if state.is_file() else None
    if args.resume is not None:
        return Path(args.resume)
    if state.is_file() and not args.profile:
        raise UserError(f"{state.parent}: holds a run; go on with --resume auto, or give another --output")
    return None


def main(args: Args | None = None) -> int:
    """The command line.

    Returns:
        0; 2 for bad input; 130 and 143 when Ctrl-C or SIGTERM stopped the run, whose state is then saved.
    """
    return execute(Args, _train, args, __doc__)


def _train(args: Args) -> int:
    if args.print:
        print(json.dumps(asdict(resolve(args)), indent=2))
        return 0
    with process_group(args.device or _best_device()) as device, catch_preemption() as preemption:
        run = train(plan(args, torch.device(device)), lambda: preemption.requested)
        if is_main():
            if run.profile is not None:
                print(run.profile)
            print(run.output if run.finished else f"stopped; go on with --resume auto --output {run.output}")
    return 0 if run.finished else preemption.exit_code


if __name__ == "__main__":
    raise SystemExit(record(main)())
