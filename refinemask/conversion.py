"""Conversion of official checkpoints to checkpoints of this project."""

import os
from dataclasses import dataclass
from pathlib import Path

from refinemask.config import ModelConfig
from refinemask.files import UserError, require_not_input, sha256
from refinemask.official.detector import detector_from_official
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
    remarks: tuple[str, ...]
    """Lines that say what was taken from the checkpoint, and what was assumed."""


def convert_checkpoint(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    config: ModelConfig | None = None,
    categories: str | os.PathLike[str] | None = None,
    ema: bool = False,
) -> Conversion:
    """Convert an official RefineMask, Mask R-CNN, PointRend or HTC checkpoint (mmdetection layout).

    Args:
        source: the official .pth file. Nothing in it is executed.
        output: the .safetensors file to write.
        config: the model's configuration. None recognises the model by its keys and takes the settings of the
            configuration that the file carries; where it says nothing, the official ones of the data set.
        categories: COCO annotations from which each class gets its category id, by its name.
        ema: whether to take the second set of weights, which a training with a moving average keeps.

    Raises:
        UserError: the checkpoint cannot be used, has settings that this project does not have, or the output cannot be
            written; nothing is written.
    """
    source, output = Path(source), Path(output)
    if output.suffix != ".safetensors":
        raise UserError(f"{output}: the output is a safetensors file; name it {output.with_suffix('.safetensors')}")
    require_not_input(output, source, categories)
    found = detector_from_official(source, config, categories=categories, ema=ema)
    detector = found.detector
    # A name need not be UTF-8, but metadata are.
    name = os.fsencode(source.name).decode(errors="replace")
    save_detector(detector, output, recipe=f"official: {name}", metadata={"source_sha256": sha256(source)})
    return Conversion(
        path=output,
        config=detector.config,
        parameters=sum(weight.numel() for weight in detector.parameters()),
        remarks=found.remarks,
    )
