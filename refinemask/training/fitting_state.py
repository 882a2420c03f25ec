"""What a saved state must look like before it is copied into a run: a fused optimizer writes wherever shapes let it."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.optim import Optimizer

from refinemask.finite import require_finite
from refinemask.json_files import Count, checked, short


class ScalerState(TypedDict):
    """What changes in a gradient scaler."""

    scale: Annotated[float, Meta(gt=0, le=1e38)]
    """The factor of the losses."""
    _growth_tracker: Count
    """Steps since it changed."""


def fitting_state(part: Any, saved: Any, name: str) -> dict[str, Any]:
    """What ``part`` may load of the state that was saved of it.

    Args:
        part: the part of this run: a module, an optimizer with momentum, or a gradient scaler.
        saved: the state, of which nothing is known.
        name: the part's name, for errors.

    Raises:
        ValueError: a value is missing, unknown, or of another kind, type or shape than this run's.
        UserError: a tensor has values that are not finite.
    """
    own = part.state_dict()
    _require_keys(saved, own, name)
    if isinstance(part, nn.Module):
        for key, tensor in own.items():
            require_like(saved[key], tensor, f"{name}.{key}")
        require_finite(saved)
        return saved
    if isinstance(part, Optimizer):
        return _optimizer_state(part, own, saved, name)
    try:
        return {**own, **checked({key: saved[key] for key in ScalerState.__annotations__}, ScalerState)}
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from error


def _optimizer_state(part: Optimizer, own: dict[str, Any], saved: dict[str, Any], name: str) -> dict[str, Any]:
    """The momentum that was saved; rates and the like are this run's, which come from the recipe."""
    numbers = [index for group in own["param_groups"] for index in group["params"]]
    parameters = dict(zip(numbers, [p for group in part.param_groups for p in group["params"]], strict=True))
    state = saved["state"]
    # What has had no gradient has no momentum: all before the first step, and HTC's semantic branch without maps.
    _require_keys(state, parameters, f"{name}.state", complete=False)
    for number, entry in state.items():
        place = f"{name}.state.{number}"
        _require_keys(entry, {"momentum_buffer": None}, place)
        require_like(entry["momentum_buffer"], parameters[number], f"{place}.momentum_buffer")
    require_finite({f"the momentum of parameter {number}": entry["momentum_buffer"] for number, entry in state.items()})
    # A momentum of zero steps as none does, and the fused optimizer takes momentum of all or of none.
    absent = {number: {"momentum_buffer": torch.zeros_like(parameters[number])} for number in parameters if state}
    return {"state": absent | state, "param_groups": own["param_groups"]}


def _require_keys(found: Any, expected: Mapping[Any, Any], place: str, *, complete: bool = True) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{place} is a {type(found).__name__}, expected a dict")
    if complete and (missing := [key for key in expected if key not in found]):
        raise ValueError(f"{place} lacks {missing[0]!r}")
    if unknown := [key for key in found if key not in expected]:
        raise ValueError(f"{place} has an unknown entry, {short(unknown[0])}")


def require_like(found: Any, own: Tensor, place: str) -> None:
    """Raise a ValueError unless ``found`` is a plain tensor in memory of the type and shape of ``own``."""
    # A view may pretend to a size that its memory does not have.
    if type(found) is not Tensor or found.layout != torch.strided or found.is_quantized or found.device.type != "cpu":
        raise ValueError(f"{place} is no plain tensor")
    if found.dtype != own.dtype or found.shape != own.shape:
        raise ValueError(f"{place} is {_kind(found)}, expected {_kind(own)}")
    if found.untyped_storage().nbytes() < found.numel() * found.element_size():
        raise ValueError(f"{place} repeats its values, expected all of them")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)[:8]}"
