"""Training as a function."""

import json
from pathlib import Path

import pytest
import torch

import refinemask
from refinemask.training.loop import Execution
from tests.support.tiny_training import RECIPE, draw_dataset


def test_the_verb_says_what_became_of_the_plan_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = refinemask.Plan(
        name="tiny",
        recipe=RECIPE,
        data_root=draw_dataset(tmp_path / "data"),
        output=tmp_path / "run",
        execution=Execution(device=torch.device("cpu")),
        evaluate_every=2,
    )
    run = refinemask.train(plan)
    assert (run.output, run.finished, run.profile) == (tmp_path / "run", True, None)
    assert capfd.readouterr().out == ""
    records = [json.loads(line) for line in (run.output / "metrics.jsonl").read_text().splitlines()]
    assert list(records[-1]["average_precision"]) == ["bbox", "segm", "boundary"]
    assert run.best_ap == pytest.approx(records[-1]["average_precision"]["segm"]["AP"])


def test_a_run_that_is_stopped_is_not_finished(tmp_path: Path) -> None:
    plan = refinemask.Plan(
        name="tiny",
        recipe=RECIPE,
        data_root=draw_dataset(tmp_path / "data"),
        output=tmp_path / "run",
        execution=Execution(device=torch.device("cpu")),
        evaluate_every=0,
    )
    run = refinemask.train(plan, lambda: True)
    assert (run.finished, run.best_ap) == (False, None)
    assert (run.output / "state.pt").is_file()
