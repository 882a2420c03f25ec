"""Damaged training states: refused in a line with nothing restored, or restored and fit for the next step."""

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from refinemask.training.checkpoint import Progress, load_state, save_state
from refinemask.training.fingerprint import Fingerprint
from tests.fuzz.conftest import Seeds
from tests.support.mutations import ODD_VALUES, mutated_bytes, refusal

RUN = Fingerprint.of([1, 2])
ODD_TENSORS = (
    torch.zeros(3), torch.zeros(()), torch.zeros(0), torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.float64),
    torch.full((2, 3), torch.nan), torch.zeros(1).expand(2, 3), torch.zeros(1).expand(2**20, 2**20),
    torch.eye(3).to_sparse(), torch.zeros(5056, dtype=torch.uint8), torch.ones(2, 3, dtype=torch.complex64),
)  # fmt: skip


def parts(seed: int) -> dict[str, Any]:
    """A model and an optimizer after its first step, and a scaler."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, fused=True)
    step(model, optimizer)
    return {"model": model, "optimizer": optimizer, "scaler": torch.amp.GradScaler("cpu", enabled=True)}


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One step of training, which a buffer of a wrong shape would turn into a write beyond it."""
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()


def mutated(value: Any, random: np.random.Generator) -> Any:
    """A copy of a state with one value, anywhere in it, replaced, removed or doubled."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.15:
        odd: tuple[Any, ...] = ODD_TENSORS if random.random() < 0.5 else ODD_VALUES
        return odd[random.integers(len(odd))]
    copied = copy.copy(value)
    keys = list(copied) if isinstance(copied, dict) else range(len(copied))
    key = keys[random.integers(len(keys))]
    if random.random() < 0.1:
        del copied[key]
    elif random.random() < 0.1 and isinstance(copied, dict):
        copied["more"] = copied[key]
    else:
        copied[key] = mutated(copied[key], random)
    return copied


def require_restored_or_refused(path: Path) -> bool:
    """Whether a file is taken; in any case the run can go on with a step."""
    torch.manual_seed(0)
    run = parts(1)
    before = copy.deepcopy({name: part.state_dict() for name, part in run.items()})
    taken = refusal(lambda: load_state(path, run, RUN)) is None
    if not taken:
        assert str({name: part.state_dict() for name, part in run.items()}) == str(before)
    step(run["model"], run["optimizer"])
    return taken


def test_entries(seeds: Seeds, tmp_path: Path) -> None:
    path, refused = tmp_path / "state.pt", 0
    save_state(path, parts(0), Progress(iteration=3), RUN)
    whole = torch.load(path, weights_only=True)
    assert require_restored_or_refused(path)
    for random in seeds(100):
        torch.save(mutated(whole, random), path)
        refused += not require_restored_or_refused(path)
    assert refused > 50


def test_bytes(seeds: Seeds, tmp_path: Path) -> None:
    """Whatever is taken has the checksums of its writer, so that it is what was written."""
    path = tmp_path / "state.pt"
    save_state(path, parts(0), Progress(iteration=3), RUN)
    data = path.read_bytes()
    expected = torch.load(io.BytesIO(data), weights_only=True)["parts"]
    for random in seeds(100):
        path.write_bytes(mutated_bytes(data, random))
        if require_restored_or_refused(path):
            assert str(torch.load(path, weights_only=True)["parts"]) == str(expected)
