"""Our checkpoints: safetensors files that carry their model's configuration."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from refinemask.config import ModelConfig
from refinemask.config_json import from_json, to_json
from refinemask.files import UserError, atomic_write
from refinemask.finite import require_finite
from refinemask.foreign import reason
from refinemask.modeling.detector import Detector
from refinemask.readable import require_readable
from refinemask.selection import Selection

FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
"""Types of weights in a file, by safetensors' names; all of them become float32."""
TENSORS_OF_BLOCK = 15
"""Fewest tensors of a backbone's block: three convolutions, each with the four of a batch norm."""
CONVERTED = (".pth", ".pt")
"""Endings of official checkpoints."""


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
        UserError: the file cannot be written, or its configuration makes no sense.
    """
    state = {key: tensor.detach().cpu().to(torch.float32).contiguous() for key, tensor in detector.state_dict().items()}
    header = {"config": _readable_config(detector.config, path), "recipe": recipe, **(metadata or {})}
    with atomic_write(path) as temporary:
        save_file(state, temporary, header)


def _readable_config(config: ModelConfig, path: str | os.PathLike[str]) -> str:
    """The configuration as JSON that :func:`read_config` takes."""
    text = to_json(config)
    try:
        from_json(ModelConfig, text)
    except ValueError as error:
        raise UserError(f"{path}: cannot be written: its model configuration is {error}") from error
    return text


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a checkpoint of ours: ``config`` (JSON), ``recipe``, and what training added.

    Raises:
        UserError: the file is missing, is no safetensors file, or was not written by this project.
    """
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
    if "config" not in metadata:
        raise UserError(
            f"{path}: a safetensors file without this project's model configuration; expected one written by "
            "refinemask.train or refinemask.convert"
        )
    return metadata


@contextmanager
def open_safetensors(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a safetensors file, whose header has then been checked against its size.

    Raises:
        UserError: the file cannot be read, or is no safetensors file.
    """
    require_readable(path)
    try:
        opened = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        advice = "it may be truncated: write or download it again"
        if Path(path).suffix in CONVERTED:
            advice = (
                f"an official checkpoint is converted first: python -m refinemask.convert {path} -o OUTPUT.safetensors"
            )
        raise UserError(f"{path}: not a safetensors file ({reason(error)}); {advice}") from error
    with opened as file:
        yield file


def read_config(path: str | os.PathLike[str]) -> ModelConfig:
    """The model configuration of a checkpoint of ours; its tensors are not read.

    Raises:
        UserError: the file is not a checkpoint of ours, or its configuration makes no sense.
    """
    try:
        return from_json(ModelConfig, read_metadata(path)["config"])
    except ValueError as error:
        raise UserError(
            f"{path}: its model configuration is {error}; expected a file of refinemask.train or refinemask.convert"
        ) from error


def load_detector(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    detections: int | None = None,
    score_threshold: float | None = None,
) -> Detector:
    """The detector of a checkpoint of ours, float32, in eval mode.

    Args:
        path: the .safetensors file.
        device: PyTorch device of the detector.
        detections: largest number of detections per image, 1 to 3840; None is the checkpoint's.
        score_threshold: score above which a detection counts; None is the checkpoint's.

    Raises:
        UserError: the file is not a checkpoint of ours, its tensors do not fit its configuration, a weight is not
            finite, or a number is out of its range.
    """
    selection = Selection(detections=detections, score_threshold=score_threshold)
    config = read_config(path)
    with open_safetensors(path) as file:
        # A configuration can ask for any amount of memory. The tensors in the file cannot.
        _require_fit(config, file, path)
        state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    require_finite(state, path)
    detector = Detector(selection.of_network(config))
    detector.load_state_dict(state, strict=False)
    return detector.eval().to(device)


def _require_fit(config: ModelConfig, file: Any, path: str | os.PathLike[str]) -> None:
    """Raise a UserError unless an open file has the tensors of the configuration, of their shapes and in a float type.

    Only the header is read, and no weight is allocated.
    """
    tensors, least = len(file.keys()), TENSORS_OF_BLOCK * sum(config.backbone.blocks)
    if tensors < least:
        raise UserError(
            f"{path}: its tensors do not fit its configuration: it has {tensors}, whose backbone alone has more than "
            f"{least}; write it again"
        )
    with torch.device("meta"):
        expected = {key: list(tensor.shape) for key, tensor in Detector(config).state_dict().items()}
    headers = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
    found = {key: header.get_shape() for key, header in headers.items()}
    types = {key: header.get_dtype() for key, header in headers.items()}
    # Batch norm's step counters, which nothing reads, are not kept.
    misfits = [f"{key} is missing" for key in expected if key not in found and not key.endswith("num_batches_tracked")]
    misfits += [f"{key[:100]!r} is unknown" for key in sorted(found) if key not in expected]
    shared = [key for key in expected if key in found]
    misfits += [f"{key} is {found[key]}, expected {expected[key]}" for key in shared if found[key] != expected[key]]
    misfits += [f"{key} is of type {types[key]}, expected a float type" for key in shared if types[key] not in FLOATS]
    if misfits:
        raise UserError(f"{path}: its tensors do not fit its configuration: {first_of(misfits)}; write it again")


def first_of(faults: Sequence[str], most: int = 3) -> str:
    """The first few of many faults, and how many more there are."""
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(faults[:most]) + more
