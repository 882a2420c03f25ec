"""Train a detector: ``python -m refinemask.train --recipe nuclei-demo --output runs/nuclei``.

On several GPUs, or machines: ``torchrun --nproc-per-node 8 -m refinemask.train --recipe … --data-root …``.
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch.distributed.elastic.multiprocessing.errors import record

from refinemask.bundled import NUCLEI
from refinemask.command import execute
from refinemask.config import Augmentation, DataConfig, ModelConfig, TrainConfig, with_window
from refinemask.distributed import is_main, process_group, say
from refinemask.files import UserError
from refinemask.nearest import nearest
from refinemask.recipes import RECIPES, Recipe
from refinemask.selection import Selection
from refinemask.spelling import (
    OptionalName,
    OptionalNumber,
    OptionalOutput,
    OptionalPath,
    OptionalRange,
    OptionalSides,
    OptionalSize,
    OptionalWindow,
)
from refinemask.training.loop import Execution, Precision, kept_weights
from refinemask.training.overrides import (
    raised_for_detections,
    with_frozen_backbone,
    with_image_size,
    with_own_data,
)
from refinemask.training.preemption import catch_preemption
from refinemask.training.run import Plan, TrainingRun, train

LIMITS: list[tuple[tuple[str, ...], Callable[[float], bool], str]] = [
    (("epochs", "batch_size", "accumulate", "log_every", "early_stop"), lambda value: value >= 1, "at least 1"),
    (("workers", "evaluate_every", "warmup"), lambda value: value >= 0, "at least 0"),
    (("seed",), lambda value: 0 <= value < 1 << 63, "0 to 2^63 - 1"),
    (("learning_rate",), lambda value: 0 < value < math.inf, "more than 0"),
    (("ema_decay",), lambda value: 0 < value < 1, "a number between 0 and 1"),
    (("anchor_scale",), lambda value: 1e-6 <= value <= 1e6, "0.000001 to 1000000"),
    (("colour", "rotate90", "copy_paste"), lambda value: 0 <= value <= 1, "0 to 1"),
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
    annotations: OptionalPath = None
    """Annotations of your own to train on, in place of the recipe's, in any format that this project reads; the classes
    are theirs. A split stands behind a colon: data.yaml:train."""
    images: OptionalPath = None
    """Folder from which the file names in --annotations begin; the folder of that file if not given."""
    val_annotations: OptionalPath = None
    """Annotations to evaluate on; with --annotations and without these, nothing is evaluated."""
    val_images: OptionalPath = None
    """Folder from which the file names in --val-annotations begin; if not given, that of --images, or of the file."""
    background_images: bool = False
    """Train on images without annotations, too, in which there is nothing to find."""
    crowd_as_object: bool = False
    """Take objects that are marked as crowds (iscrowd 1) as one object each, in training and evaluation."""
    resume: str | None = None
    """A state.pt to go on from with the same recipe and overrides; "auto": that of the output, if there is one."""
    init: str | None = None
    """Weights to start from: "imagenet", a backbone's file, or a .safetensors of this project, same backbone."""
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
    lr_schedule: Literal["step", "cosine"] | None = None
    """Whether the learning rate falls by steps, or to zero along half a cosine, in place of the recipe's."""
    warmup: OptionalNumber = None
    """Iterations in which the learning rate rises to its full value, in place of the recipe's."""
    early_stop: OptionalNumber = None
    """End after so many evaluations without a gain in mask AP; they are --evaluate-every epochs apart."""
    freeze: Literal["backbone"] | None = None
    """Leave the weights of this part as they were loaded; it needs --init."""
    image_size: OptionalSides = None
    """Largest shorter and longer side of images, in training and afterwards, in place of the recipe's."""
    detections: OptionalNumber = None
    """Largest number of detections per image, at most 3840, in place of the recipe's."""
    score_threshold: float | None = None
    """Smallest score of a detection, in place of the recipe's."""
    anchor_scale: float | None = None
    """Side of a square anchor in strides of its level, which are 4 to 64 pixels, in place of the recipe's."""
    scale_jitter: OptionalRange = None
    """Multiply every image's size by a factor between these two, drawn evenly on a logarithmic scale."""
    crop: OptionalSize = None
    """Cut out a random part of at most this height and width, in pixels of the network's input."""
    colour: float | None = None
    """Change brightness, contrast and saturation at random by up to this share, and the hue by a tenth of it."""
    rotate90: float | None = None
    """Probability of a turn by 90, 180 or 270 degrees."""
    copy_paste: float | None = None
    """Probability that objects of another image are pasted in."""
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
    recipe = with_own_data(recipe, args.annotations, args.images, args.val_annotations, args.val_images)
    if args.image_size is not None:
        recipe = with_image_size(recipe, args.image_size)
    recipe = replace(recipe, model=_model(args, recipe.model), data=_data(args, recipe.data))
    recipe = replace(recipe, train=_schedule(args, recipe.train))
    if args.early_stop is not None and (recipe.validation is None or not args.evaluate_every):
        lacking = "give --val-annotations" if recipe.validation is None else "give --evaluate-every 1 or more"
        raise UserError(f"--early-stop is {args.early_stop}, but nothing is evaluated; {lacking}")
    return recipe


def _model(args: Args, model: ModelConfig) -> ModelConfig:
    if args.freeze == "backbone":
        model = with_frozen_backbone(model)
    wanted = Selection(detections=args.detections, score_threshold=args.score_threshold).of_network(model)
    if raised := raised_for_detections(model, wanted):
        say(f"--detections {args.detections} raises {', '.join(raised)}")
    model = wanted
    if args.anchor_scale is not None:
        model = replace(model, rpn=replace(model.rpn, anchor_scale=args.anchor_scale))
    return with_window(model, args.window)


def _data(args: Args, data: DataConfig) -> DataConfig:
    return replace(
        data,
        background_images=args.background_images or data.background_images,
        crowd_as_object=args.crowd_as_object or data.crowd_as_object,
        augmentation=augmentation(args, data.augmentation),
    )


def _schedule(args: Args, train: TrainConfig) -> TrainConfig:
    if args.epochs is not None:
        steps = tuple(round(step * args.epochs / train.epochs) for step in train.step_epochs)
        train = replace(train, epochs=args.epochs, step_epochs=steps)
    if args.batch_size is not None:
        rate = train.learning_rate * args.batch_size / train.batch_size
        if args.learning_rate is None and rate != train.learning_rate:
            say(f"learning rate {rate:g}: the recipe's {train.learning_rate:g} is for batches of {train.batch_size}")
        train = replace(train, batch_size=args.batch_size, learning_rate=rate)
    given = {
        "learning_rate": args.learning_rate,
        "warmup_iterations": args.warmup,
        "schedule": args.lr_schedule,
        "early_stop": args.early_stop,
        "seed": args.seed,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(train, **changes)


def augmentation(args: Args, base: Augmentation) -> Augmentation:
    """The recipe's augmentation with the command line's overrides.

    Raises:
        UserError: the factors of scale jitter, or the size of a crop, make no sense.
    """
    if args.scale_jitter is not None and not 0.01 <= args.scale_jitter[0] <= args.scale_jitter[1] <= 10:
        low, high = args.scale_jitter
        raise UserError(f"--scale-jitter is {low:g} {high:g}; expected two factors of 0.01 to 10, the smaller first")
    if args.crop is not None and not 1 <= min(args.crop) <= max(args.crop) <= 1 << 16:
        raise UserError(f"--crop is {args.crop[0]}x{args.crop[1]}; expected a height and width of 1 to 65536")
    given: dict[str, Any] = {
        "scale_jitter": args.scale_jitter,
        "crop": args.crop,
        "colour": args.colour,
        "rotation": args.rotate90,
        "copy_paste": args.copy_paste,
    }
    return replace(base, **{name: value for name, value in given.items() if value is not None})


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
        data_root=_data_root(args, recipe),
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
        asked=_asked(args),
        evaluate_every=args.evaluate_every,
        log_every=args.log_every,
        tensorboard=args.tensorboard,
        profile=args.profile,
    )


def _asked(args: Args) -> frozenset[str]:
    """The settings that initial weights do not change, because the command line has them."""
    given = {"rpn.anchor_scale": args.anchor_scale, "preprocessing.window": args.window}
    return frozenset(name for name, value in given.items() if value is not None)


def _data_root(args: Args, recipe: Recipe) -> Path:
    """The folder of all data whose paths are relative; of no meaning if there are none."""
    if args.data_root is not None:
        return args.data_root
    if args.recipe.startswith("nuclei-demo"):
        return NUCLEI
    validation = recipe.validation.annotations if recipe.validation is not None else None
    for path in (recipe.data.annotations, recipe.data.semantic_maps, validation):
        if path is not None and not Path(path).is_absolute():
            own = "; for data of your own give --annotations and --images" if path == recipe.data.annotations else ""
            raise UserError(f"--data-root is missing: the directory that holds {path}{own}")
    return Path()


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
            elif run.finished:
                print(_outcome(run, args), file=sys.stderr)
            print(run.output if run.finished else f"stopped; go on with --resume auto --output {run.output}")
    return 0 if run.finished else preemption.exit_code


def _outcome(run: TrainingRun, args: Args) -> str:
    """What came of a run, in a line: why it ended, and the best weights."""
    why = f"ended early, after {args.early_stop} evaluations without a gain in mask AP; " if run.stopped_early else ""
    if run.best_ap is None:
        return f"{why}no mask AP was measured: last.safetensors has the weights"
    when = f" after epoch {run.best_epoch}" if run.best_epoch is not None else ""
    weights = kept_weights(args.ema_decay)
    return f"{why}best.safetensors: mask AP {run.best_ap:.4f}{when}, weights: {weights}"


if __name__ == "__main__":
    raise SystemExit(record(main)())
