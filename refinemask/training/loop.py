"""The training loop: one iteration after another until the schedule ends."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from refinemask.config import TrainConfig
from refinemask.data.sampler import BatchSampler, RankShare
from refinemask.data.training import TrainingBatch, TrainingDataset, collate
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training.checkpoint import Progress, load_state, save_state
from refinemask.training.objective import detection_losses
from refinemask.training.report import Report

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is computed, as opposed to what it learns."""

    device: torch.device
    precision: Precision = "fp32"
    """bf16 runs convolutions and matrix products in bfloat16; weights, losses and boxes stay float32."""
    channels_last: bool = False
    accumulate: int = 1
    """Micro-batches per iteration."""
    workers: int = 0
    """Processes that load images."""
    log_every: int = 20


def learning_rate(config: TrainConfig, iteration: int, iterations_per_epoch: int) -> float:
    """The rate of an iteration: linear warm-up, then a tenth after each of ``step_epochs``."""
    rate = config.learning_rate * 0.1 ** sum(iteration >= epoch * iterations_per_epoch for epoch in config.step_epochs)
    if iteration < config.warmup_iterations:
        rate *= 1 - (1 - iteration / config.warmup_iterations) * (1 - config.warmup_factor)
    return rate


class Trainer:
    """A detector in training, with everything that a resumed run needs to be the same run."""

    def __init__(
        self, detector: Detector, dataset: TrainingDataset, config: TrainConfig, execution: Execution, fingerprint: str
    ) -> None:
        """
        Args:
            fingerprint: identifies the recipe; a state is resumed only under the same one.
        """
        self.detector = detector.to(execution.device).train()
        if execution.channels_last:
            self.detector.to(memory_format=torch.channels_last)
        self.config, self.execution, self.dataset = config, execution, dataset
        self.sampler = BatchSampler(dataset.aspect_ratios, config.batch_size, config.seed)
        self.iterations = config.epochs * self.sampler.iterations_per_epoch
        parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
        self.optimizer = SGD(
            parameters, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        self.progress = Progress(iteration=0)
        self._fingerprint = fingerprint

    def resume(self, path: Path) -> None:
        """Go on from a state written by :meth:`save`."""
        self.progress = load_state(path, self.detector, self.optimizer, self._fingerprint)

    def save(self, path: Path) -> None:
        """Write the resumable state."""
        save_state(path, self.detector, self.optimizer, self.progress, self._fingerprint)

    def run(self, report: Report, after_epoch: Callable[[int], None]) -> None:
        """Train from the present iteration to the end.

        Args:
            after_epoch: called with the number of epochs done.

        Raises:
            UserError: the loss is not finite.
        """
        batches = self._batches()
        per_epoch = self.sampler.iterations_per_epoch
        for iteration in range(self.progress.iteration, self.iterations):
            rate = learning_rate(self.config, iteration, per_epoch)
            losses, waited = self._step(batches, rate)
            if not all(map(math.isfinite, losses.values())):
                raise UserError(
                    f"iteration {iteration}: the loss is not finite ({losses}); a lower --learning-rate helps"
                )
            self.progress = Progress(iteration=iteration + 1, best_ap=self.progress.best_ap)
            report.step(iteration + 1, losses, rate, waited)
            if (iteration + 1) % per_epoch == 0:
                after_epoch((iteration + 1) // per_epoch)

    def _batches(self) -> Iterator[TrainingBatch]:
        share = RankShare(self.sampler, self.progress.iteration, self.iterations, accumulate=self.execution.accumulate)
        return iter(
            DataLoader(self.dataset, batch_sampler=share, collate_fn=collate, num_workers=self.execution.workers)
        )

    def _step(self, batches: Iterator[TrainingBatch], rate: float) -> tuple[dict[str, float], float]:
        """One update. Returns the loss terms and the seconds spent waiting for images."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        totals: dict[str, Tensor] = {}
        waited = 0.0
        for _ in range(self.execution.accumulate):
            start = time.perf_counter()
            batch = next(batches).to(self.execution.device)
            waited += time.perf_counter() - start
            with self._autocast():
                losses = detection_losses(self.detector, *batch, self.config)
            share = {name: loss / self.execution.accumulate for name, loss in losses.items()}
            torch.stack(list(share.values())).sum().backward()
            totals = {name: totals.get(name, 0) + loss.detach() for name, loss in share.items()}
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.detector.parameters(), self.config.clip_norm)
        self.optimizer.step()
        values = torch.stack(list(totals.values())).tolist()
        return dict(zip(totals, values, strict=True)), waited

    def _autocast(self) -> AbstractContextManager[None]:
        enabled = self.execution.precision == "bf16"
        return torch.autocast(self.execution.device.type, torch.bfloat16, enabled=enabled)
