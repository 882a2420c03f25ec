"""The resumable state of a training run, beside the weights that the rest of the project reads."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from refinemask.config import to_json
from refinemask.files import UserError, atomic_write

NAME = "state.pt"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands."""

    iteration: int
    """Iterations done; the sampler's position follows from it."""
    best_ap: float = -1.0


def config_hash(*configs: Any) -> str:
    """SHA-256 of configurations: a state resumes only the run it belongs to."""
    return hashlib.sha256("\n".join(to_json(config) for config in configs).encode()).hexdigest()


def save_state(path: Path, model: nn.Module, optimizer: Optimizer, progress: Progress, fingerprint: str) -> None:
    """Write everything the run needs to go on as if it had never stopped; the file is replaced whole or not at all."""
    state = {
        "model": _full_state(model),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "iteration": progress.iteration,
        "best_ap": progress.best_ap,
        "config": fingerprint,
    }
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, model: nn.Module, optimizer: Optimizer, fingerprint: str) -> Progress:
    """Restore what :func:`save_state` wrote.

    Raises:
        UserError: the file is missing, broken or of a run with another recipe.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        found, iteration, best_ap, rng = state["config"], state["iteration"], state["best_ap"], state["rng"]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such training state; leave --resume out to start anew") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a training state written by refinemask.train ({type(error).__name__})") from error
    if found != fingerprint:
        raise UserError(f"{path}: belongs to another recipe (hash {found[:12]}, this one is {fingerprint[:12]})")
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(rng)
    return Progress(iteration=iteration, best_ap=best_ap)


def _full_state(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **{name: x for name, x in model.named_buffers()}}
