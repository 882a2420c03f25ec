"""Our checkpoints: safetensors files that carry their model's configuration."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from refinemask.config import ModelConfig, from_json, to_json
from refinemask.files import UserError, atomic_write
from refinemask.modeling.detector import Detector


def save_detector(
    detector: Detector,
    path: str | os.PathLike[str],
    *,
    recipe: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the weights as float32 safetensors, atomically, with the configuration in the file's metadata.

    Args:
        detector: the detector.
        path: the .safetensors file.
        recipe: name of the recipe that trained the weights.
        metadata: more entries of the file's metadata.

    Raises:
        UserError: the file cannot be written.
    """
    state = {key: tensor.detach().cpu().to(torch.float32).contiguous() for key, tensor in detector.state_dict().items()}
    header = {"config": to_json(detector.config), "recipe": recipe, **(metadata or {})}
    with atomic_write(path) as temporary:
        save_file(state, temporary, header)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a checkpoint of ours: ``config`` (JSON), ``recipe``, and what training added.

    Raises:
        UserError: the file is missing, is no safetensors file, or was not written by this project.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(
            f"{path}: not a safetensors file ({error}); an official checkpoint is converted first: "
            f"python -m refinemask.convert {path} -o OUTPUT.safetensors"
        ) from error
    if "config" not in metadata:
        raise UserError(
            f"{path}: a safetensors file without this project's model configuration; expected one written by "
            "refinemask.train or refinemask.convert"
        )
    return metadata


def read_config(path: str | os.PathLike[str]) -> ModelConfig:
    """The model configuration of a checkpoint of ours; its tensors are not read.

    Raises:
        UserError: the file is not a checkpoint of ours.
    """
    try:
        return from_json(ModelConfig, read_metadata(path)["config"])
    except ValueError as error:
        raise UserError(f"{path}: its model configuration is {error}; was it written by a newer version?") from error


def load_detector(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Detector:
    """The detector of a checkpoint of ours, float32, in eval mode.

    Raises:
        UserError: the file is not a checkpoint of ours, or its tensors do not fit its configuration.
    """
    detector = Detector(read_config(path))
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    try:
        # Batch norm's step counters are the only keys that are not kept.
        missing = [k for k in detector.load_state_dict(state, strict=False).missing_keys if "num_batches" not in k]
    except RuntimeError as error:
        raise UserError(f"{path}: tensors do not fit the file's configuration: {error}") from error
    unexpected = sorted(set(state) - set(detector.state_dict()))
    if missing or unexpected:
        raise UserError(
            f"{path}: its tensors do not fit its configuration: {len(missing)} missing (first: {missing[:3]}), "
            f"{len(unexpected)} unexpected (first: {unexpected[:3]})"
        )
    return detector.eval().to(device)
