"""The training loop: one iteration after another until the schedule ends."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from refinemask.config import TrainConfig
from refinemask.data.sampler import BatchSampler, RankShare
from refinemask.data.training import TrainingBatch, TrainingDataset
from refinemask.distributed import any_rank, gather, mean_over_ranks, share, world
from refinemask.files import UserError
from refinemask.float32 import float32_products
from refinemask.modeling.detector import Detector
from refinemask.training.checkpoint import Progress, Stateful, load_state, save_state
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.loaders import load, named_deaths, next_batch
from refinemask.training.objective import DetectionObjective

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is computed, as opposed to what it learns."""

    device: torch.device
    """Device of the computation."""
    precision: Precision = "fp32"
    """Type of convolutions and matrix products; weights, losses and boxes stay float32."""
    channels_last: bool = False
    """Whether maps are laid out with channels last."""
    compile: bool = False
    """Whether backbone and FPN are compiled; the heads have shapes that change with every batch."""
    accumulate: int = 1
    """Number of micro-batches per iteration."""
    workers: int = 0
    """Number of processes that load images."""
    ema_decay: float | None = None
    """Decay of a moving average of the weights; None keeps no average."""


def kept_weights(ema_decay: float | None) -> str:
    """Which weights a run with that decay evaluates and keeps, in words."""
    return "as trained" if ema_decay is None else f"moving average (EMA), decay {ema_decay:g}"


class Step(NamedTuple):
    """What one iteration did."""

    losses: dict[str, float]
    """Mean of each loss term over all processes and micro-batches."""
    learning_rate: float
    waited: float
    """Seconds spent waiting for images."""
    skipped: list[str]
    """Reason for each image that was replaced by another, in all processes."""


def learning_rate(config: TrainConfig, iteration: int, iterations_per_epoch: int) -> float:
    """The rate of an iteration: linear warm-up, and a tenth after each of ``step_epochs``.

    The schedule ``cosine`` falls to zero along half a cosine instead, from the end of the warm-up to that of the run.
    """
    warmup, rate = config.warmup_iterations, config.learning_rate
    if config.schedule == "step":
        rate *= 0.1 ** sum(iteration >= epoch * iterations_per_epoch for epoch in config.step_epochs)
    elif iteration > warmup:
        progress = (iteration - warmup) / (config.epochs * iterations_per_epoch - warmup)
        rate *= (1 + math.cos(math.pi * progress)) / 2
    if iteration < warmup:
        rate *= 1 - (1 - iteration / warmup) * (1 - config.warmup_factor)
    return rate


class Trainer:
    """A detector in training, with everything that makes a resumed run the same run."""

    def __init__(
        self,
        detector: Detector,
        dataset: TrainingDataset,
        config: TrainConfig,
        execution: Execution,
        fingerprint: Fingerprint,
    ) -> None:
        """Set up a training from its first iteration.

        Args:
            detector: the detector to train.
            dataset: the training images.
            config: what is learnt.
            execution: how it is computed.
            fingerprint: of recipe and images; only a state of the same is resumed.

        Raises:
            UserError: the batch cannot be divided among processes and micro-batches.
        """
        self.config, self.execution, self.dataset = config, execution, dataset
        self.detector = detector.to(execution.device).train()
        if execution.channels_last:
            self.detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if share(config.batch_size, "batch size") % execution.accumulate:
            raise UserError(f"batch size {config.batch_size} cannot be divided into {execution.accumulate} parts")
        self.sampler = BatchSampler(dataset.aspect_ratios, config.batch_size, config.seed)
        self.iterations = config.epochs * self.sampler.iterations_per_epoch
        self.optimizer = SGD(
            [parameter for parameter in detector.parameters() if parameter.requires_grad],
            config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=execution.precision == "fp16")
        self.average = _average(detector, execution.ema_decay)
        self.progress = Progress()
        self._fingerprint = fingerprint
        self._objective: nn.Module = DetectionObjective(detector, config)
        if execution.compile:
            detector.pyramid = torch.compile(detector.pyramid)  # type: ignore[method-assign]
        if world()[1] > 1:
            self._objective = DistributedDataParallel(self._objective)

    @property
    def result(self) -> Detector:
        """The detector to evaluate and keep: the average of the weights if there is one."""
        return cast(Detector, self.average.module) if self.average is not None else self.detector

    @property
    def stops_early(self) -> bool:
        """Whether as many evaluations as the configuration allows have brought no gain, before the last iteration."""
        patience = self.config.early_stop
        spent = patience is not None and self.progress.without_gain >= patience
        return spent and self.progress.iteration < self.iterations

    @property
    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {"model": self.detector, "optimizer": self.optimizer}
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler
        if self.average is not None:
            parts["average"] = self.average
        return parts

    def resume(self, path: Path) -> None:
        """Go on from a state written by :meth:`save`.

        Raises:
            UserError: the file is missing, damaged or of another run.
        """
        progress = load_state(path, self._parts, self._fingerprint)
        per_epoch = self.sampler.iterations_per_epoch
        if progress.iteration > self.iterations or progress.evaluated_epoch * per_epoch > progress.iteration:
            raise UserError(
                f"{path}: stands at iteration {progress.iteration}, evaluated after epoch {progress.evaluated_epoch}; "
                f"this run has {self.iterations} iterations, {per_epoch} an epoch: it is damaged, start anew"
            )
        self.progress = progress

    def save(self, path: Path) -> None:
        """Write the resumable state."""
        save_state(path, self._parts, self.progress, self._fingerprint)

    def run(
        self,
        on_step: Callable[[int, Step], None],
        on_epoch: Callable[[int], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train from the present iteration to the end.

        Args:
            on_step: called with the number of iterations done and what the last one did.
            on_epoch: called with the number of epochs done. A run that starts at the end of an epoch calls it for that
                epoch first, because what follows an epoch may have been cut off.
            should_stop: called after each iteration; all processes stop when it returns true in one of them.

        Returns:
            Whether the end was reached, which an early stop is, too.

        Raises:
            UserError: the loss is not finite, too many images cannot be read, or a process that loads them was killed.
        """
        per_epoch = self.sampler.iterations_per_epoch
        epochs, rest = divmod(self.progress.iteration, per_epoch)
        if epochs and not rest:
            on_epoch(epochs)
        if self.stops_early:
            return True
        with named_deaths(), closing(self.steps()) as steps:
            for step in steps:
                done = self.progress.iteration
                on_step(done, step)
                if done % per_epoch == 0:
                    on_epoch(done // per_epoch)
                    if self.stops_early:
                        return True
                if any_rank(should_stop(), self.execution.device):
                    return done == self.iterations
        return True

    def steps(self) -> Generator[Step, None, None]:
        """The remaining iterations, each computed when it is asked for."""
        with self._batches() as batches:
            for iteration in range(self.progress.iteration, self.iterations):
                step = self._step(batches, learning_rate(self.config, iteration, self.sampler.iterations_per_epoch))
                if not all(map(math.isfinite, step.losses.values())):
                    raise UserError(
                        f"iteration {iteration}: a loss is not finite: {step.losses}; lower --learning-rate"
                    )
                self.progress = replace(self.progress, iteration=iteration + 1)
                yield step

    def _batches(self) -> AbstractContextManager[Iterator[TrainingBatch]]:
        rank, size = world()
        start, accumulate = self.progress.iteration, self.execution.accumulate
        picks = RankShare(self.sampler, start, self.iterations, rank, size, accumulate)
        return load(self.dataset, picks, self.execution.workers, self.execution.device.type == "cuda")

    def _step(self, batches: Iterator[TrainingBatch], rate: float) -> Step:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        waited, skipped, totals = 0.0, [], []
        for part in range(self.execution.accumulate):
            start = time.perf_counter()
            batch = next_batch(batches).to(self.execution.device)
            waited += time.perf_counter() - start
            skipped += batch.skipped
            last = part + 1 == self.execution.accumulate
            with self._synchronisation(last), float32_products(tf32=self.execution.precision == "tf32"):
                with self._autocast():
                    losses = self._objective(batch.images, batch.image_sizes, batch.targets)
                terms = torch.stack(list(losses.values())) / self.execution.accumulate
                self.scaler.scale(terms.sum()).backward()
            totals.append(terms.detach())
        self._update()
        # The number of skipped images travels with the losses, so that reasons are exchanged only where there are any.
        sums = torch.stack(totals).sum(dim=0)
        *values, skips = mean_over_ranks(torch.cat([sums, sums.new_tensor([len(skipped)])])).tolist()
        if skips:
            skipped = list(chain.from_iterable(gather(skipped)))
        return Step(dict(zip(losses, values, strict=True)), rate, waited, skipped)

    def _update(self) -> None:
        if self.config.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.detector.parameters(), self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.detector)

    def _synchronisation(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged with the last micro-batch only."""
        if isinstance(self._objective, DistributedDataParallel) and not last:
            return self._objective.no_sync()
        return nullcontext()

    def _autocast(self) -> AbstractContextManager[None]:
        if self.execution.precision not in TYPES:
            return nullcontext()
        return torch.autocast(self.execution.device.type, TYPES[self.execution.precision])


def _average(detector: Detector, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    return AveragedModel(detector, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def profile(trainer: Trainer, path: Path | None, steps: int = 20) -> str:
    """Run some iterations under PyTorch's profiler.

    Args:
        trainer: the training, which goes on from where it stands.
        path: the trace file (``.json.gz``) to write, for https://ui.perfetto.dev; None in all but one process.
        steps: number of iterations in the trace.

    Returns:
        A table of the operations that took longest.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if trainer.execution.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with named_deaths(), closing(trainer.steps()) as iterator:
        next(iterator)  # Compilation and memory allocation are no part of a step.
        with torch.profiler.profile(activities=activities) as profiler:
            for _ in islice(iterator, steps):
                pass
    if path is not None:
        profiler.export_chrome_trace(str(path))
    device = "cuda" if trainer.execution.device.type == "cuda" else "cpu"
    return profiler.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=20)
