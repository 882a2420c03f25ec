"""What is not of this run's types and shapes is never copied into it."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from refinemask.files import UserError
from refinemask.training.fitting_state import fitting_state


def stepped(model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer as a run has it, after its first step."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, fused=True)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer


MODEL = nn.Linear(3, 2)
OPTIMIZER = stepped(MODEL)
SCALER = torch.amp.GradScaler("cpu", enabled=True)
PARTS: dict[str, Any] = {"model": MODEL, "optimizer": OPTIMIZER, "scaler": SCALER}
ODD_TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "another shape": lambda tensor: torch.zeros(3),
    "another type": lambda tensor: tensor.double(),
    "whole numbers": lambda tensor: tensor.int(),
    "sparse": lambda tensor: tensor.to_sparse(),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "without memory": lambda tensor: torch.zeros(1).expand(tensor.shape),
    "meta": lambda tensor: tensor.to("meta"),
    "a parameter": lambda tensor: nn.Parameter(tensor),
    "None": lambda tensor: None,
    "a number": lambda tensor: 5,
    "a list": lambda tensor: tensor.tolist(),
}


@pytest.mark.parametrize("name", PARTS)
def test_its_own_state_fits(name: str) -> None:
    part = PARTS[name]
    saved = copy.deepcopy(part.state_dict())
    assert str(fitting_state(part, saved, name)) == str(saved)


@pytest.mark.parametrize("kind", ODD_TENSORS)
def test_tensors_of_another_kind_are_refused(kind: str) -> None:
    weights = copy.deepcopy(MODEL.state_dict())
    weights["weight"] = ODD_TENSORS[kind](weights["weight"])
    with pytest.raises(ValueError, match=r"^model\.weight "):
        fitting_state(MODEL, weights, "model")
    momentum = copy.deepcopy(OPTIMIZER.state_dict())
    momentum["state"][0]["momentum_buffer"] = ODD_TENSORS[kind](momentum["state"][0]["momentum_buffer"])
    with pytest.raises(ValueError, match=r"^optimizer\.state\.0\.momentum_buffer "):
        fitting_state(OPTIMIZER, momentum, "optimizer")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    weights, momentum = copy.deepcopy(MODEL.state_dict()), copy.deepcopy(OPTIMIZER.state_dict())
    weights["bias"][1] = momentum["state"][1]["momentum_buffer"][1] = value
    with pytest.raises(UserError, match="1 of the 2 values of bias are NaN"):
        fitting_state(MODEL, weights, "model")
    with pytest.raises(UserError, match="1 of the 2 values of the momentum of parameter 1 are NaN"):
        fitting_state(OPTIMIZER, momentum, "optimizer")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model", lambda state: state.pop("bias"), "model lacks 'bias'"),
        ("model", lambda state: state.update({"more": 1}), "model has an unknown entry, 'more'"),
        ("optimizer", lambda state: state.pop("state"), "optimizer lacks 'state'"),
        ("optimizer", lambda state: state["state"].update({7: {}}), "optimizer.state has an unknown entry, 7"),
        ("optimizer", lambda state: state["state"][0].clear(), "optimizer.state.0 lacks 'momentum_buffer'"),
        ("optimizer", lambda state: state["state"].update({0: []}), "optimizer.state.0 is a list, expected a dict"),
        ("optimizer", lambda state: state.update(state=[1]), "optimizer.state is a list, expected a dict"),
        ("scaler", lambda state: state.update(scale=0.0), "scaler.scale: expected number > 0"),
        ("scaler", lambda state: state.update(scale=math.nan), "scaler.scale: expected number > 0"),
        ("scaler", lambda state: state.update(_growth_tracker=-1), "scaler._growth_tracker: expected whole number"),
        ("scaler", lambda state: state.pop("scale"), "scaler lacks 'scale'"),
    ],
)
def test_entries_of_another_kind_are_refused(name: str, change: Callable[[Any], Any], message: str) -> None:
    state = copy.deepcopy(PARTS[name].state_dict())
    change(state)
    with pytest.raises(ValueError, match=message):
        fitting_state(PARTS[name], state, name)
    odd: Any
    for odd in (None, [], 5, torch.zeros(2)):
        with pytest.raises(ValueError, match=rf"^{name} is a \w+, expected a dict"):
            fitting_state(PARTS[name], odd, name)


def test_rates_are_this_runs_and_not_the_files() -> None:
    state = copy.deepcopy(OPTIMIZER.state_dict())
    state["param_groups"] = [{"lr": "fast", "params": [99]}]
    assert fitting_state(OPTIMIZER, state, "optimizer")["param_groups"] == OPTIMIZER.state_dict()["param_groups"]


def test_a_parameter_without_gradient_gets_a_momentum_of_zero() -> None:
    """Such as those of HTC's semantic branch where there are no maps to learn it from."""
    modules = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    optimizer = torch.optim.SGD(modules.parameters(), 0.1, momentum=0.9)
    modules[0](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert [*state["state"]] == [0, 1]
    found = fitting_state(optimizer, state, "optimizer")["state"]
    assert {number: bool(entry["momentum_buffer"].any()) for number, entry in found.items()} == {
        0: True,
        1: True,
        2: False,
        3: False,
    }


def test_a_run_before_its_first_step_has_no_momentum() -> None:
    state = OPTIMIZER.state_dict() | {"state": {}}
    assert fitting_state(OPTIMIZER, state, "optimizer")["state"] == {}
