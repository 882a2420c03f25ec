"""A training run and its directory.

``recipe.json`` and ``environment.json`` say what is run and where. ``metrics.jsonl`` says how it goes. ``state.pt`` is
for a resumed run, ``last.safetensors`` and ``best.safetensors`` are for the rest of the project.
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

from refinemask.config import ModelConfig
from refinemask.data.annotated import require_files
from refinemask.data.coco import CocoDataset
from refinemask.data.training import TrainingDataset
from refinemask.distributed import gather, is_main, world
from refinemask.evaluation.measurement import Measurement
from refinemask.evaluation.metrics import METRICS
from refinemask.files import UserError, atomic_write
from refinemask.locks import locked
from refinemask.modeling.detector import Detector
from refinemask.modeling.families import family_of
from refinemask.provenance import git_revision
from refinemask.recipes import Recipe
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.initial_weights import initialise
from refinemask.training.loop import Execution, Step, Trainer, profile
from refinemask.training.report import Report
from refinemask.training.validation import draw_first, validate
from refinemask.weights import save_detector

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
    """Weights to start from: ``imagenet``, a backbone's file, or a .safetensors of this project of the same model."""
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
    trainer, model = _prepare(plan)
    if plan.resume is not None:
        trainer.resume(plan.resume)
    _require_same_start(trainer, plan.output)
    if plan.profile:
        table = profile(trainer, _make(plan.output) / "profile.json.gz" if is_main() else None)
        return TrainingRun(output=plan.output, finished=True, profile=table)
    validation = _validation(plan, model)
    if is_main():
        finished = _run_and_report(plan, trainer, model, validation, should_stop)
    else:
        finished = trainer.run(_ignore, _Epochs(plan, trainer, validation, None), should_stop)
    best = trainer.progress.best_ap
    return TrainingRun(output=plan.output, finished=finished, best_ap=best if best >= 0 else None)


def _run_and_report(
    plan: Plan, trainer: Trainer, model: ModelConfig, validation: CocoDataset | None, should_stop: Callable[[], bool]
) -> bool:
    """Run in the first process, which writes the files; returns whether the run reached its end."""
    _write_json(plan.output / "recipe.json", {"name": plan.name, **asdict(replace(plan.recipe, model=model))})
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
        finished = trainer.run(report.step, _Epochs(plan, trainer, validation, report), should_stop)
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


def _prepare(plan: Plan) -> tuple[Trainer, ModelConfig]:
    """The trainer, and its model's configuration with the classes of the annotations."""
    recipe = plan.recipe
    dataset = METRICS[recipe.data.format].read(plan.data_root / recipe.data.annotations)
    model = replace(recipe.model, class_names=dataset.class_names, category_ids=dataset.category_ids)
    torch.manual_seed(recipe.train.seed)
    detector = Detector(model)
    if plan.init is not None:
        initialise(detector, plan.init)
    elif plan.resume is None and (model.backbone.frozen_norm or model.backbone.frozen_stages >= 0):
        source = "a file of Caffe's weights" if model.backbone.stride_in_1x1 else "imagenet or a file"
        raise UserError(
            f"{plan.name} freezes part of its backbone, so it cannot start from nothing; give --init {source}"
        )
    maps = recipe.data.semantic_maps
    if maps is None and family_of(model.mask_head).semantic_maps:
        print(f"{plan.name}: without semantic maps the semantic branch has no loss of its own", file=sys.stderr)
    images = TrainingDataset(
        dataset,
        plan.data_root / recipe.data.images,
        recipe.data,
        semantic_dir=None if maps is None else plan.data_root / maps,
        window=model.preprocessing.window,
    )
    if images.left_out and is_main():
        print(f"not trained on: {dataset.path}: {images.left_out}", file=sys.stderr)
    fingerprint = Fingerprint.of(images.image_ids, model=model, data=recipe.data, train=recipe.train)
    return Trainer(detector, images, recipe.train, plan.execution, fingerprint), model


def _validation(plan: Plan, model: ModelConfig) -> CocoDataset | None:
    """The data to evaluate on, or None; it is read before the first iteration, so that a mistake in it shows early."""
    if not plan.evaluate_every:
        return None
    validation, metric = plan.recipe.validation, METRICS[plan.recipe.data.format]
    dataset = metric.read(plan.data_root / validation.annotations)
    metric.require_classes(dataset, model, f"a model of {plan.data_root / plan.recipe.data.annotations}")
    require_files(dataset.images, plan.data_root / validation.images, dataset.path)
    return dataset


class _Epochs:
    """What happens after each epoch: weights and state are written, and at times the detector is evaluated."""

    def __init__(self, plan: Plan, trainer: Trainer, validation: CocoDataset | None, report: Report | None) -> None:
        """The first process has a report; without ``validation`` nothing is evaluated."""
        self._plan, self._trainer, self._validation, self._report = plan, trainer, validation, report
        self._images = plan.data_root / plan.recipe.validation.images

    def __call__(self, epoch: int) -> None:
        self._save(epoch, "last")
        if self._validation is not None and self._is_due(epoch):
            self._evaluate(epoch, self._validation)

    def _is_due(self, epoch: int) -> bool:
        every, last = self._plan.evaluate_every, self._plan.recipe.train.epochs
        return epoch > self._trainer.progress.evaluated_epoch and (epoch % every == 0 or epoch == last)

    def _evaluate(self, epoch: int, dataset: CocoDataset) -> None:
        trainer = self._trainer
        metric = METRICS[self._plan.recipe.data.format]
        measured = validate(trainer.result, metric, dataset, self._images, trainer.execution.device)
        if self._report is not None:
            self._tell(self._report, epoch, dataset, measured)
        ap = measured.figures["segm"]["AP"]
        is_best = ap > trainer.progress.best_ap
        trainer.progress = replace(trainer.progress, evaluated_epoch=epoch, best_ap=max(ap, trainer.progress.best_ap))
        if is_best:
            self._save(epoch, "best", {"mask_ap": f"{ap:.4f}"})
        elif self._report is not None:
            trainer.save(self._plan.output / "state.pt")

    def _tell(self, report: Report, epoch: int, dataset: CocoDataset, measured: Measurement) -> None:
        iteration = self._trainer.progress.iteration
        report.skip(iteration, measured.skipped)
        report.write(iteration, {"epoch": epoch, "average_precision": measured.figures})
        if self._plan.tensorboard:
            device = self._trainer.execution.device
            for image_id, picture in draw_first(self._trainer.result, dataset, self._images, device, PICTURES):
                report.picture(iteration, f"image {image_id}", picture)

    def _save(self, epoch: int, name: str, metadata: dict[str, str] | None = None) -> None:
        if self._report is not None:
            plan = self._plan
            path = plan.output / f"{name}.safetensors"
            facts = {"epoch": str(epoch), **(metadata or {})}
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
