"""A training run and its directory.

``recipe.json``, ``data.json`` and ``environment.json`` say what is run, on what and where. ``metrics.jsonl`` says how
it goes. ``state.pt`` is for a resumed run, ``last.safetensors`` and ``best.safetensors`` are for the rest of the
project.
"""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torchvision

from refinemask.config import BackboneConfig, ModelConfig
from refinemask.data.annotated import require_files
from refinemask.data.coco import CocoDataset
from refinemask.data.reading import read_annotations
from refinemask.data.training import TrainingDataset
from refinemask.distributed import gather, is_main, say, world
from refinemask.evaluation.measurement import Measurement
from refinemask.files import UserError, atomic_write
from refinemask.locks import locked
from refinemask.modeling.detector import Detector
from refinemask.modeling.families import family_of
from refinemask.provenance import git_revision
from refinemask.recipes import Recipe
from refinemask.training.annotations import format_of, metric_of
from refinemask.training.data_report import UsedData, validation_counts
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.initial_weights import IMAGENET, adapted, initialise
from refinemask.training.loop import Execution, Step, Trainer, kept_weights, profile
from refinemask.training.report import Report
from refinemask.training.transfer import InitialWeights, recorded
from refinemask.training.validation import draw_first, require_some_readable, validate
from refinemask.weights import save_detector

SAME_CLASSES = (
    "give a class the same id and name in both; of labelme, Pascal VOC and instance masks, which have names alone, "
    "list the names in a classes.txt, one a line, in a folder above both"
)
"""What to do where the classes of the validation are others than the training's."""
PICTURES = 4
"""Number of images of the validation set that TensorBoard shows with their detections."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training run before it begins."""

    name: str
    """Name of the recipe."""
    recipe: Recipe
    """What is learnt."""
    data_root: Path
    """Directory under which the recipe's annotation files and image folders lie."""
    output: Path
    """Directory of the run."""
    execution: Execution
    """How the run is computed."""
    resume: Path | None = None
    """File state.pt of a run of the same recipe to go on from."""
    init: str | None = None
    """Weights to start from: ``imagenet``, a backbone's file, or a .safetensors of this project, same backbone."""
    asked: frozenset[str] = frozenset()
    """Settings of the model, such as ``rpn.anchor_scale``, that the weights' own do not replace."""
    evaluate_every: int = 12
    """Number of epochs between evaluations, the last of which follows the last epoch; 0 evaluates nothing."""
    log_every: int = 20
    """Number of iterations per line of metrics.jsonl."""
    tensorboard: bool = False
    """Whether TensorBoard events are written, too."""
    profile: bool = False
    """Whether only a PyTorch profiler trace of 20 steps is made, in profile.json.gz."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What became of a :class:`Plan`."""

    output: Path
    """Directory of the run."""
    finished: bool
    """Whether the run reached its end; otherwise its state is saved."""
    best_ap: float | None = None
    """Mask AP in 0..1 of ``best.safetensors``; None if nothing was evaluated."""
    best_epoch: int | None = None
    """The epoch of ``best.safetensors``; None if nothing was evaluated, or by an earlier version."""
    stopped_early: bool = False
    """Whether the run reached its end because evaluations brought no more gain."""
    initial: InitialWeights | None = None
    """What was taken of the weights that the plan names, which recipe.json and the checkpoints say, too."""
    profile: str | None = None
    """The profiler's table, if the plan asked for it."""


def train(plan: Plan, should_stop: Callable[[], bool] = lambda: False) -> TrainingRun:
    """Train a detector.

    The processes that ``torchrun`` started train it together, inside ``refinemask.distributed.process_group``.

    Args:
        plan: what to train, on what and how.
        should_stop: called after every iteration; once it returns true, the state is saved and the run ends.

    Raises:
        UserError: the data, the weights or the state do not fit, the training diverged, the output is in use or cannot
            be written, or a process that loads images was killed.
    """
    # A profile is no run: its only file is written whole.
    with _own_directory(plan.output) if is_main() and not plan.profile else nullcontext():
        return _train(plan, should_stop)


def _train(plan: Plan, should_stop: Callable[[], bool]) -> TrainingRun:
    chosen = plan.recipe.model
    # The window that it may take over is needed to read images.
    plan = replace(plan, recipe=replace(plan.recipe, model=adapted(chosen, plan.init, plan.asked)))
    pictures, data = _training_data(plan)
    plan = replace(plan, recipe=_with_classes(plan.recipe, data.dataset))
    trainer, initial = _prepare(plan, pictures, chosen)
    if plan.resume is not None:
        trainer.resume(plan.resume)
    _require_same_start(trainer, plan.output)
    if plan.profile:
        table = profile(trainer, _make(plan.output) / "profile.json.gz" if is_main() else None)
        return TrainingRun(output=plan.output, finished=True, profile=table)
    validation = _validation_data(plan, data)
    if is_main():
        finished = _run_and_report(plan, trainer, initial, data, validation, should_stop)
    else:
        finished = trainer.run(_ignore, _Epochs(plan, trainer, validation, None), should_stop)
    progress = trainer.progress
    measured = progress.best_ap >= 0
    return TrainingRun(
        output=plan.output,
        finished=finished,
        best_ap=progress.best_ap if measured else None,
        best_epoch=(progress.best_epoch or None) if measured else None,
        stopped_early=trainer.stops_early,
        initial=initial,
    )


def _run_and_report(
    plan: Plan,
    trainer: Trainer,
    initial: InitialWeights | None,
    data: UsedData,
    validation: UsedData | None,
    should_stop: Callable[[], bool],
) -> bool:
    """Run in the first process, which writes the files; returns whether the run reached its end."""
    origin = {} if initial is None else {"initial_weights": asdict(initial)}
    _write_json(plan.output / "recipe.json", {"name": plan.name, **asdict(plan.recipe), **origin})
    sets = {"training": data, "validation": validation}
    _write_json(plan.output / "data.json", {name: used and used.to_json() for name, used in sets.items()})
    _write_json(plan.output / "environment.json", environment(plan.execution))
    report = Report(
        plan.output,
        start=trainer.progress,
        total=trainer.iterations,
        per_epoch=trainer.sampler.iterations_per_epoch,
        images=plan.recipe.train.batch_size,
        every=plan.log_every,
        tensorboard=plan.tensorboard,
    )
    trainer.progress = replace(trainer.progress, unreported=0, unreported_losses={})
    try:
        finished = trainer.run(report.step, _Epochs(plan, trainer, validation, report, initial), should_stop)
        trainer.progress = report.unreported(trainer.progress)
        trainer.save(plan.output / "state.pt")
    finally:
        report.close()
    return finished


@contextmanager
def _own_directory(output: Path) -> Iterator[None]:
    """Make the directory of a run, and keep it from other runs within the block."""
    with ExitStack() as stack:
        try:
            free = stack.enter_context(locked(_make(output) / ".lock"))
        except OSError as error:
            raise UserError(f"{output}: cannot be written: {error.strerror}") from error
        if not free:
            raise UserError(f"{output}: another process trains there; wait for its end, or give another --output")
        yield


def _make(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot be made: {error.strerror}") from error
    return directory


def _training_data(plan: Plan) -> tuple[TrainingDataset, UsedData]:
    config = plan.recipe.data
    annotations, images = plan.data_root / config.annotations, plan.data_root / config.images
    dataset = read_annotations(annotations, images, crowd_as_object=config.crowd_as_object)
    maps, is_own = config.semantic_maps, Path(config.images).is_absolute()
    pictures = TrainingDataset(
        dataset,
        images,
        config,
        semantic_dir=None if maps is None else plan.data_root / maps,
        images_option="--images" if is_own else "--data-root",
        window=plan.recipe.model.preprocessing.window,
    )
    data = UsedData(purpose="trained on", dataset=dataset, images=images, counts=pictures.counts)
    say(*data.lines())
    return pictures, data


def _with_classes(recipe: Recipe, dataset: CocoDataset) -> Recipe:
    """The recipe with the classes of its data, and their kind."""
    kind = format_of(dataset)
    if kind != recipe.data.format:
        say(f"{dataset.path}: annotations of {kind.upper()}, the recipe's are of {recipe.data.format.upper()}")
    return replace(
        recipe,
        model=replace(recipe.model, class_names=dataset.class_names, category_ids=dataset.category_ids),
        data=replace(recipe.data, format=kind),
    )


def _prepare(plan: Plan, pictures: TrainingDataset, chosen: ModelConfig) -> tuple[Trainer, InitialWeights | None]:
    """The trainer at the first iteration, and its initial weights; ``chosen`` is the model before they changed it."""
    model, train = plan.recipe.model, plan.recipe.train
    torch.manual_seed(train.seed)
    detector, initial = Detector(model), None
    if plan.init is not None:
        initial = initialise(detector, plan.init, chosen)
    elif plan.resume is not None:
        initial = recorded(plan.resume.parent / "recipe.json")
    elif model.backbone.frozen_norm or model.backbone.frozen_stages >= 0:
        raise UserError(
            f"{plan.name} freezes part of its backbone, so it cannot start from nothing; give --init "
            f"{_sources(model.backbone)}"
        )
    if plan.recipe.data.semantic_maps is None and family_of(model.mask_head).semantic_maps:
        say(f"{plan.name}: without semantic maps the semantic branch has no loss of its own")
    trainer = Trainer(detector, pictures, train, plan.execution, _fingerprint(plan.recipe, pictures))
    if train.warmup_iterations >= trainer.iterations:
        say(
            f"the warm-up takes {train.warmup_iterations} iterations, the whole run {trainer.iterations}: the learning "
            "rate never reaches its full value; give a smaller --warmup"
        )
    return trainer, initial


def _sources(backbone: BackboneConfig) -> str:
    if backbone.stride_in_1x1:
        return "a file of Caffe's weights"
    return "imagenet or a file" if backbone.blocks in IMAGENET else "a file, such as a detector of the same model"


def _fingerprint(recipe: Recipe, pictures: TrainingDataset) -> Fingerprint:
    """The identity of the run, which is the same wherever data lie that the command line names."""
    data = recipe.data
    if Path(data.annotations).is_absolute():
        data = replace(data, annotations=Path(data.annotations).name, images="")
    return Fingerprint.of(pictures.image_ids, model=recipe.model, data=data, train=recipe.train)


def _validation_data(plan: Plan, training: UsedData) -> UsedData | None:
    """The data to evaluate on, or None; it is read before the first iteration, so that a mistake in it shows early.

    Data that are those of the training are not read, and their oddities not printed, a second time.
    """
    validation = plan.recipe.validation
    if validation is None:
        say("nothing is evaluated, for lack of --val-annotations: the run writes last.safetensors, no best.safetensors")
    if validation is None or not plan.evaluate_every:
        return None
    annotations, images = plan.data_root / validation.annotations, plan.data_root / validation.images
    dataset = training.dataset
    if (annotations, images) != (dataset.path, training.images):
        dataset = read_annotations(annotations, images, crowd_as_object=plan.recipe.data.crowd_as_object)
    metric_of(dataset).require_classes(dataset, plan.recipe.model, f"a model of {training.dataset.path}", SAME_CLASSES)
    is_own = Path(validation.images).is_absolute()
    require_files(dataset.images, images, dataset.path, "--val-images" if is_own else "--data-root")
    require_some_readable(dataset, images, plan.recipe.model.preprocessing.window)
    data = UsedData(purpose="evaluated on", dataset=dataset, images=images, counts=validation_counts(dataset))
    say(*data.lines())
    if not data.counts.objects and plan.recipe.train.early_stop is not None:
        raise UserError(f"{dataset.path}: has no object to find, so that --early-stop has no AP to go by; leave it out")
    if not data.counts.objects:
        say(f"{dataset.path}: has no object to find, so no AP is measured, and there will be no best.safetensors")
    return data


class _Epochs:
    """What happens after each epoch: weights and state are written, and at times the detector is evaluated."""

    def __init__(
        self,
        plan: Plan,
        trainer: Trainer,
        validation: UsedData | None,
        report: Report | None,
        initial: InitialWeights | None = None,
    ) -> None:
        """The first process has a report; without ``validation`` nothing is evaluated."""
        self._origin = {} if initial is None else {"initial_weights": json.dumps(asdict(initial))}
        self._plan, self._trainer, self._validation, self._report = plan, trainer, validation, report

    def __call__(self, epoch: int) -> None:
        self._save(epoch, "last")
        if self._validation is not None and self._is_due(epoch):
            self._evaluate(epoch, self._validation)

    def _is_due(self, epoch: int) -> bool:
        every, last = self._plan.evaluate_every, self._plan.recipe.train.epochs
        return epoch > self._trainer.progress.evaluated_epoch and (epoch % every == 0 or epoch == last)

    def _evaluate(self, epoch: int, data: UsedData) -> None:
        trainer = self._trainer
        measured = validate(
            trainer.result, metric_of(data.dataset), data.dataset, data.images, trainer.execution.device
        )
        if self._report is not None:
            self._tell(self._report, epoch, data, measured)
        ap, before = measured.figures["segm"]["AP"], trainer.progress
        is_best = ap > before.best_ap
        gained = {"best_ap": ap, "best_epoch": epoch, "without_gain": 0}
        lost = {"without_gain": before.without_gain + 1}
        trainer.progress = replace(before, evaluated_epoch=epoch, **(gained if is_best else lost))
        if trainer.stops_early and self._report is not None:
            record = {"epoch": epoch, "stopped_early": f"{before.without_gain + 1} evaluations without a gain"}
            self._report.write(trainer.progress.iteration, record)
        if is_best:
            self._save(epoch, "best", {"mask_ap": f"{ap:.4f}"})
        elif self._report is not None:
            trainer.save(self._plan.output / "state.pt")

    def _tell(self, report: Report, epoch: int, data: UsedData, measured: Measurement) -> None:
        iteration = self._trainer.progress.iteration
        report.skip(iteration, measured.skipped)
        report.write(iteration, {"epoch": epoch, "average_precision": measured.figures})
        if self._plan.tensorboard:
            device = self._trainer.execution.device
            for image_id, picture in draw_first(self._trainer.result, data.dataset, data.images, device, PICTURES):
                report.picture(iteration, f"image {image_id}", picture)

    def _save(self, epoch: int, name: str, metadata: dict[str, str] | None = None) -> None:
        if self._report is not None:
            plan = self._plan
            path = plan.output / f"{name}.safetensors"
            facts = {"epoch": str(epoch), "weights": kept_weights(plan.execution.ema_decay), **self._origin}
            facts |= metadata or {}
            save_detector(self._trainer.result, path, recipe=plan.name, metadata=facts)
            self._trainer.save(plan.output / "state.pt")


def _require_same_start(trainer: Trainer, output: Path) -> None:
    """Raise a UserError if the processes resume different states: each machine reads its own file."""
    starts = gather(trainer.progress.iteration)
    if len(set(starts)) > 1:
        raise UserError(
            f"{output / 'state.pt'}: the processes start at the iterations {starts}; the state must be the same file "
            "on every machine"
        )


def _ignore(iteration: int, step: Step) -> None:
    """Only the first process reports."""


def environment(execution: Execution) -> dict[str, Any]:
    """Where and with what a run is computed."""
    cuda = execution.device.type == "cuda"
    return {
        "command": sys.argv,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(execution.device) if cuda else platform.processor() or platform.machine(),
        "processes": world()[1],
        "threads": torch.get_num_threads(),
        "execution": {**asdict(execution), "device": str(execution.device)},
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
