"""Weights that are numbers: one that is not turns every result into nothing, without an error."""

import os
from collections.abc import Mapping

import torch
from torch import Tensor

from refinemask.files import UserError


def require_finite(state: Mapping[str, Tensor], path: str | os.PathLike[str] | None = None) -> None:
    """Raise a UserError that names the first tensor with a value that is NaN or infinite, and how many it has.

    Args:
        state: tensors of any shape and type, by name.
        path: the file, for the error; None if whoever calls names it.
    """
    wrong = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if wrong:
        tensor = state[wrong[0]]
        count = int((~torch.isfinite(tensor)).sum())
        others = f", and {len(wrong) - 1} more tensors have such values" if len(wrong) > 1 else ""
        raise UserError(
            f"{f'{path}: ' if path is not None else ''}{count} of the {tensor.numel()} values of {wrong[0]} are NaN or "
            f"infinite{others}; expected finite weights, such as those of an epoch before the training diverged"
        )
