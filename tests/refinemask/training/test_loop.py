"""The loop: learning rate, precision, micro-batches, averages, divergence, and the profiler."""

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from refinemask.config import TrainConfig
from refinemask.data.coco import read_coco
from refinemask.data.training import TrainingDataset
from refinemask.files import UserError
from refinemask.modeling.detector import Detector
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.loop import Execution, Precision, Trainer, learning_rate, profile
from tests.support import tiny_training
from tests.support.tolerances import assert_near

CPU = Execution(device=torch.device("cpu"))
FINGERPRINT = Fingerprint.of([])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TrainingDataset:
    root = tiny_training.draw_dataset(tmp_path_factory.mktemp("data"))
    return TrainingDataset(read_coco(root / "train.json"), root / "images", tiny_training.RECIPE.data)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trainer(dataset: TrainingDataset, execution: Execution = CPU, **changes: Any) -> Trainer:
    torch.manual_seed(0)
    # Frozen, so that a part of a batch is normalised as the whole.
    model = replace(tiny_training.FROZEN_RECIPE.model, class_names=("square", "disk"), category_ids=(3, 7))
    return Trainer(Detector(model), dataset, replace(tiny_training.RECIPE.train, **changes), execution, FINGERPRINT)


def test_the_learning_rate_warms_up_and_steps_down() -> None:
    config = TrainConfig(learning_rate=0.02, epochs=12, step_epochs=(8, 11), warmup_iterations=500)
    rates = {i: learning_rate(config, i, 100) for i in (0, 250, 499, 500, 799, 800, 1099, 1100)}
    expected = {0: 2e-5, 250: 0.02 * 0.5005, 499: 0.02 * (1 - 0.999 / 500), 500: 0.02, 799: 0.02, 800: 2e-3, 1099: 2e-3}
    assert rates == pytest.approx({**expected, 1100: 2e-4})


def test_the_cosine_falls_from_the_warm_up_to_zero() -> None:
    config = TrainConfig(learning_rate=0.02, epochs=12, schedule="cosine", warmup_iterations=200)
    rates = {i: learning_rate(config, i, 100) for i in (0, 100, 200, 450, 700, 950, 1199)}
    expected = {0: 2e-5, 100: 0.02 * 0.5005, 200: 0.02, 450: 0.02 * (0.5 + 0.125**0.5), 700: 0.01}
    assert rates == pytest.approx({**expected, 950: 0.02 * (0.5 - 0.125**0.5), 1199: 0.01 * (math.pi / 1000) ** 2 / 2})
    everything = [learning_rate(config, i, 100) for i in range(200, 1200)]
    assert everything == sorted(everything, reverse=True)


@pytest.mark.parametrize("warmup", [0, 1199, 1200, 5000])
@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_every_length_of_the_warm_up_has_a_rate(schedule: Literal["step", "cosine"], warmup: int) -> None:
    config = TrainConfig(learning_rate=0.02, epochs=12, schedule=schedule, warmup_iterations=warmup)
    rates = [learning_rate(config, i, 100) for i in range(1200)]
    assert 0 < min(rates) <= max(rates) <= 0.02


def test_a_run_that_stops_early_has_reached_its_end(dataset: TrainingDataset) -> None:
    run = trainer(dataset, early_stop=2, epochs=5)
    per_epoch, ended = run.sampler.iterations_per_epoch, []

    def without_gain(epoch: int) -> None:
        ended.append(epoch)
        run.progress = replace(run.progress, without_gain=run.progress.without_gain + 1)

    assert run.run(lambda iteration, step: None, without_gain)
    assert (ended, run.progress.iteration) == ([1, 2], 2 * per_epoch)
    assert run.stops_early


def test_a_run_that_trained_every_epoch_did_not_stop_early(dataset: TrainingDataset) -> None:
    run = trainer(dataset, early_stop=1, epochs=1)
    run.progress = replace(run.progress, without_gain=1)
    assert run.stops_early
    run.progress = replace(run.progress, iteration=run.iterations)
    assert not run.stops_early


def test_the_optimizer_is_the_official_one(dataset: TrainingDataset) -> None:
    (group,) = trainer(dataset).optimizer.param_groups
    assert (group["momentum"], group["weight_decay"], group["nesterov"]) == (0.9, 1e-4, False)


def test_gradients_are_clipped_together(dataset: TrainingDataset) -> None:
    moved = {}
    for clip in (None, 1e-3):
        run = trainer(dataset, clip_norm=clip, warmup_iterations=0, learning_rate=1.0, weight_decay=0.0)
        before = [weight.detach().clone() for weight in run.detector.parameters()]
        next(run.steps())
        pairs = zip(run.detector.parameters(), before, strict=True)
        moved[clip] = float(sum(((new.detach() - old) ** 2).sum() for new, old in pairs) ** 0.5)
    assert_near(moved[1e-3], 1e-3, "clipped gradient")
    assert moved[None] > 1e-2


def test_micro_batches_make_the_same_step(dataset: TrainingDataset) -> None:
    whole, parts = (next(trainer(dataset, replace(CPU, accumulate=n)).steps()).losses for n in (1, 4))
    # The other terms are means over what each part sampled, which is not the mean over the whole.
    for name in ("rpn_objectness", "rpn_box", "semantic"):
        assert_near(parts[name], whole[name], "losses of parts")


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_float32_is_multiplied_as_the_precision_says(
    dataset: TrainingDataset, monkeypatch: pytest.MonkeyPatch, precision: Precision, expected: str
) -> None:
    seen = []
    backward = torch.Tensor.backward

    def watched(tensor: torch.Tensor) -> None:
        seen.append(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        backward(tensor)

    monkeypatch.setattr(torch.Tensor, "backward", watched)
    next(trainer(dataset, replace(CPU, precision=precision)).steps())
    assert seen == [expected]


@pytest.mark.parametrize("execution", [replace(CPU, precision="bf16"), replace(CPU, channels_last=True)])
def test_other_ways_to_compute_agree(dataset: TrainingDataset, execution: Execution) -> None:
    plain, other = (next(trainer(dataset, e).steps()).losses for e in (CPU, execution))
    for name in ("rpn_objectness", "semantic"):
        assert_near(other[name], plain[name], "losses in bfloat16")


def test_weights_stay_float32_under_autocast(dataset: TrainingDataset) -> None:
    run = trainer(dataset, replace(CPU, precision="bf16"))
    next(run.steps())
    assert {weight.dtype for weight in run.detector.parameters()} == {torch.float32}


def test_the_average_follows_the_weights(dataset: TrainingDataset) -> None:
    run = trainer(dataset, replace(CPU, ema_decay=0.9), warmup_iterations=0)
    steps = run.steps()
    next(steps)
    name = "fpn.output_convs.0.weight"
    first = run.detector.state_dict()[name].clone()
    next(steps)
    second = run.detector.state_dict()[name]
    averaged = run.result.state_dict()[name]
    assert_near(averaged, 0.9 * first + 0.1 * second, "averaged weights")


def test_a_diverged_run_stops_with_its_losses(dataset: TrainingDataset) -> None:
    run = trainer(dataset)
    run.detector.rpn.conv.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"iteration 0: a loss is not finite: .*rpn_objectness"):
        next(run.steps())


def test_a_batch_that_cannot_be_divided_is_refused(dataset: TrainingDataset) -> None:
    with pytest.raises(UserError, match="batch size 4 cannot be divided into 3 parts"):
        trainer(dataset, replace(CPU, accumulate=3))


def test_stopping_ends_after_the_iteration(dataset: TrainingDataset) -> None:
    run = trainer(dataset)
    done: list[int] = []
    assert not run.run(lambda iteration, step: done.append(iteration), lambda epoch: None, lambda: len(done) == 3)
    assert done == [1, 2, 3]
    assert run.progress.iteration == 3


def test_workers_change_nothing(dataset: TrainingDataset) -> None:
    alone, helped = (next(trainer(dataset, replace(CPU, workers=n)).steps()).losses for n in (0, 1))
    assert alone == helped


def test_the_profile_is_a_trace(dataset: TrainingDataset, tmp_path: Path) -> None:
    table = profile(trainer(dataset), tmp_path / "trace.json.gz", steps=1)
    assert "convolution" in table
    trace = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    assert any("convolution" in event.get("name", "") for event in trace["traceEvents"])


@pytest.mark.slow
def test_compiling_changes_nothing(dataset: TrainingDataset) -> None:
    plain, compiled = (next(trainer(dataset, replace(CPU, compile=c)).steps()).losses for c in (False, True))
    assert compiled.keys() == plain.keys()
    assert_near(list(compiled.values()), list(plain.values()), "losses when compiled")
