"""The resumable state of a training run, beside the weights that the rest of the project reads."""

import dataclasses
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from msgspec import Meta
from torch import Tensor, nn

from refinemask.files import UserError, atomic_write
from refinemask.json_files import Count, checked
from refinemask.readable import require_readable
from refinemask.training.fingerprint import Fingerprint
from refinemask.training.fitting_state import fitting_state, require_like
from refinemask.weights import first_of


class Stateful(Protocol):
    """A part of a run that can be saved: a model, an optimizer, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore a state."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands."""

    iteration: Count = 0
    """Iterations done; the sampler's position follows from it."""
    evaluated_epoch: Count = 0
    """The last epoch after which the detector was evaluated."""
    best_ap: Annotated[float, Meta(ge=-1, le=1)] = -1.0
    """Best mask AP so far, in 0..1; -1 before the first evaluation."""
    best_epoch: Count = 0
    """The epoch after which it was reached; 0 before the first evaluation."""
    without_gain: Count = 0
    """Number of evaluations since then."""
    unreported: Count = 0
    """Iterations done since the last record of losses, where a run stopped between two records."""
    unreported_losses: dict[str, float] = field(default_factory=dict)
    """Sum of each loss term over those iterations."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a state's file holds."""

    parts: dict[str, Any]
    """The state of each part of the run, by name."""
    rng: Tensor
    """State of PyTorch's generator on the CPU."""
    progress: dict[str, Any]
    """Where the run stands, a :class:`Progress`."""
    config: str
    """Hash of the run's fingerprint."""
    settings: Any = None
    """The settings of its fingerprint."""


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Progress, fingerprint: Fingerprint) -> None:
    """Write everything the run needs to go on as if it had never stopped; the file is replaced whole or not at all."""
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "rng": torch.get_rng_state(),
        "progress": asdict(progress),
        "config": fingerprint.hash,
        "settings": dict(fingerprint.settings),
    }
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, parts: Mapping[str, Stateful], fingerprint: Fingerprint) -> Progress:
    """Restore what :func:`save_state` wrote; nothing is restored unless all of it fits.

    Raises:
        UserError: the file is missing, broken, or of a run with another recipe, other images or parts.
    """
    if not os.path.exists(path):
        raise UserError(f"{path}: no such training state; leave --resume out to start anew")
    require_readable(path)
    try:
        _require_whole(path)
        state = _read_state(path)
        progress = checked(state.progress, Progress)
        _require_owner(state, fingerprint, parts)
        restored = {name: fitting_state(part, state.parts[name], name) for name, part in parts.items()}
        _require_generator(state.rng)
    except ValueError as error:
        raise UserError(
            f"{path}: not a training state of refinemask.train, or a damaged one ({error}); leave --resume out to "
            "start anew in another --output"
        ) from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    for name, part in parts.items():
        # Batch norm's step counters, which nothing reads, are not kept.
        part.load_state_dict(restored[name], **({"strict": False} if isinstance(part, nn.Module) else {}))
    torch.set_rng_state(state.rng)
    return progress


def _read_state(path: Path) -> State:
    """The parts of a state, of the kinds they must have.

    Raises:
        ValueError: the file is damaged, or one is missing or of another kind.
    """
    content = read_tensors(path)
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, expected a dict")
    for name, kind in (("parts", dict), ("rng", Tensor), ("progress", dict), ("config", str)):
        if not isinstance(content.get(name), kind):
            raise ValueError(f"its {name} is a {type(content.get(name)).__name__}, expected a {kind.__name__}")
    fields = {field.name for field in dataclasses.fields(State)}
    return State(**{name: value for name, value in content.items() if name in fields})


def _require_owner(state: State, fingerprint: Fingerprint, parts: Mapping[str, Stateful]) -> None:
    """Raise a UserError, without the file's name, unless the state is of a run of the same recipe, images and parts."""
    owner = state.config
    if owner != fingerprint.hash:
        differences = fingerprint.differences(state.settings)
        found = first_of(differences) or f"hash {owner[:12]}, this one is {fingerprint.hash[:12]}"
        if not differences and state.settings is not None:
            found = "the images to train on are others"
        raise UserError(f"belongs to another run ({found}); give the same recipe, data and overrides")
    if state.parts.keys() != parts.keys():
        names = ", ".join(str(name)[:20] for name in list(state.parts)[:5])
        raise UserError(f"holds {names or 'nothing'}; this run needs {', '.join(parts)} (--amp, --ema-decay)")


def _require_whole(path: Path) -> None:
    """Raise a ValueError unless the checksums in the file are those of its content, which PyTorch does not compare."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("it is compressed")
            damaged = archive.testzip()
    except ValueError:
        raise
    except Exception as error:
        # Arbitrary bytes make the reader raise BadZipFile, EOFError, struct.error, NotImplementedError …
        raise ValueError(f"{type(error).__name__} while reading") from error
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged[:60]!r} is wrong")


def _require_generator(state: Tensor) -> None:
    """Raise a ValueError unless ``state`` is one of PyTorch's generator on the CPU."""
    require_like(state, torch.get_rng_state(), "rng")
    try:
        torch.Generator().set_state(state)
    except RuntimeError as error:
        raise ValueError("rng: is no state of a random generator") from error


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
