"""Conversion of official checkpoints to checkpoints of this project."""

import os
from dataclasses import dataclass
from pathlib import Path

from refinemask.config import ModelConfig
from refinemask.files import UserError, sha256
from refinemask.official import detector_from_official
from refinemask.weights import save_detector


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A converted checkpoint."""

    path: Path
    """The safetensors file."""
    config: ModelConfig
    """Configuration of the model, as recognised."""
    parameters: int
    """Number of parameters of the model."""


def convert_checkpoint(source: str | os.PathLike[str], output: str | os.PathLike[str]) -> Conversion:
    """Convert an official RefineMask, Mask R-CNN, PointRend or HTC checkpoint (mmdetection layout).

    Args:
        source: the official .pth file. Nothing in it is executed.
        output: the .safetensors file to write.

    Raises:
        UserError: the checkpoint cannot be used, or the output cannot be written; nothing is written.
    """
    source, output = Path(source), Path(output)
    if output.suffix != ".safetensors":
        raise UserError(f"{output}: the output is a safetensors file; name it {output.with_suffix('.safetensors')}")
    detector = detector_from_official(source)
    save_detector(detector, output, recipe=f"official: {source.name}", metadata={"source_sha256": sha256(source)})
    return Conversion(
        path=output, config=detector.config, parameters=sum(weight.numel() for weight in detector.parameters())
    )
