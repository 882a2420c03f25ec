"""The resumable state of a training run, beside the weights that the rest of the project reads."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from refinemask.config import to_json
from refinemask.files import UserError, atomic_write


class Stateful(Protocol):
    """A part of a run that can be saved: a model, an optimizer, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore a state."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands."""

    iteration: int = 0
    """Iterations done; the sampler's position follows from it."""
    evaluated_epoch: int = 0
    """The last epoch after which the detector was evaluated."""
    best_ap: float = -1.0
    """Best mask AP so far, in 0..1; -1 before the first evaluation."""
    unreported: int = 0
    """Iterations done since the last record of losses, where a run stopped between two records."""
    unreported_losses: dict[str, float] = field(default_factory=dict)
    """Sum of each loss term over those iterations."""


def run_hash(configs: Sequence[Any], image_ids: Sequence[int]) -> str:
    """SHA-256 of a run's configurations and of the images of an epoch: a state resumes only the run it belongs to."""
    lines = [*map(to_json, configs), json.dumps(image_ids)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Progress, fingerprint: str) -> None:
    """Write everything the run needs to go on as if it had never stopped; the file is replaced whole or not at all."""
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "rng": torch.get_rng_state(),
        "progress": asdict(progress),
        "config": fingerprint,
    }
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, parts: Mapping[str, Stateful], fingerprint: str) -> Progress:
    """Restore what :func:`save_state` wrote.

    Raises:
        UserError: the file is missing, broken, or of a run with another recipe, other images or parts.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such training state; leave --resume out to start anew")
    try:
        state = read_tensors(path)
        saved, rng, owner = state["parts"], state["rng"], state["config"]
        progress = Progress(**state["progress"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a training state of refinemask.train, or a damaged one ({error})") from error
    if owner != fingerprint:
        raise UserError(
            f"{path}: belongs to another run (hash {owner[:12]}, this one is {fingerprint[:12]}); "
            "give the same recipe, data and overrides"
        )
    if saved.keys() != parts.keys():
        raise UserError(f"{path}: holds {', '.join(saved)}; this run needs {', '.join(parts)} (--amp, --ema-decay)")
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            # Batch norm's step counters, which nothing reads, are not kept.
            part.load_state_dict(saved[name], strict=False)
        else:
            part.load_state_dict(saved[name])
    torch.set_rng_state(rng)
    return progress


def read_tensors(path: str | os.PathLike[str]) -> Any:
    """What a PyTorch file of tensors and plain values holds; nothing else in it is loaded or run.

    Raises:
        ValueError: the file is damaged, or holds anything else.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        # Arbitrary bytes make the unpickler raise nearly anything: struct.error, IndexError, OSError …
        raise ValueError(f"{type(error).__name__} while reading") from error
