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


def convert_checkpoint(
    source: str | os.PathLike[str], output: str | os.PathLike[str], *, config: ModelConfig | None = None
) -> Conversion:
    """Convert an official RefineMask, Mask R-CNN, PointRend or HTC checkpoint (mmdetection layout).

    Args:
        source: the official .pth file. Nothing in it is executed.
        output: the .safetensors file to write.
        config: the model's configuration. None recognises the model by its keys, with the official settings of its data
            set. The file has no settings, so a model that was trained with other image sizes or anchors needs this.

    Raises:
        UserError: the checkpoint cannot be used, or the output cannot be written; nothing is written.
    """
    source, output = Path(source), Path(output)
    if output.suffix != ".safetensors":
        raise UserError(f"{output}: the output is a safetensors file; name it {output.with_suffix('.safetensors')}")
    detector = detector_from_official(source, config)
    save_detector(detector, output, recipe=f"official: {source.name}", metadata={"source_sha256": sha256(source)})
    return Conversion(
        path=output, config=detector.config, parameters=sum(weight.numel() for weight in detector.parameters())
    )
