"""The sidecar of a compiled package, ``model.pt2.json``: its origin, and whether it may be loaded here.

A package is native code: to load a file of unknown origin is to run unknown code. The code also runs only on the kind
of device, and with the version of PyTorch, that it was compiled for.

It proves that nothing was mixed up. It is no signature: whoever can write the package can write its sidecar, too.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Annotated

import msgspec
import torch

from engines.canvases import Canvases
from engines.trt.sidecar import COMMAND_SHOWN, Digest, Name, read_fields, sidecar_path
from refinemask.config import STRIDE, ModelConfig
from refinemask.config_json import from_json
from refinemask.files import UserError, atomic_write
from refinemask.foreign import one_line
from refinemask.json_files import Count

Side = Annotated[int, msgspec.Meta(ge=STRIDE, le=1 << 20)]
"""Height or width of an image in pixels."""
Batch = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
"""Number of images in a batch."""


@dataclass(frozen=True, kw_only=True)
class CompiledSidecar:
    """A package's origin."""

    package_sha256: Digest
    """SHA-256 of the package."""
    checkpoint: Name
    """File name of the checkpoint."""
    checkpoint_sha256: Digest
    """SHA-256 of the checkpoint."""
    recipe: str
    """Recipe by which the checkpoint was trained."""
    config: str
    """Configuration of the model, as JSON."""
    precision: Name
    """Arithmetic of the convolutions: fp32, tf32, fp16 or bf16."""
    device: Name
    """Kind of device: ``cpu`` or ``cuda``."""
    target: Name
    """What the code runs on: compute capability of the GPU, such as ``9.0``, or vector instructions of the CPU."""
    torch: Name
    """Version of PyTorch, with that of CUDA."""
    processor: str
    """Name of the GPU that the package was compiled on; empty on a CPU."""
    batch: Batch
    """Number of images of a full batch."""
    sizes: tuple[tuple[Side, Side], ...]
    """(height, width) of the padded images."""
    agreement: tuple[Count, Count] | None
    """Number of detections that agreed with eager PyTorch in fp32 after the build, and of all; None if unchecked."""
    command: str
    """The command line that compiles the package again."""

    @property
    def canvases(self) -> Canvases:
        """Shapes that the package was compiled for."""
        return Canvases(batch=self.batch, sizes=self.sizes)

    def model_config(self, path: str | os.PathLike[str]) -> ModelConfig:
        """The configuration of the model; ``path`` names the package in errors.

        Raises:
            UserError: the configuration cannot be read.
        """
        try:
            return from_json(ModelConfig, self.config)
        except ValueError as error:
            raise UserError(
                f"{sidecar_path(path)}: unreadable configuration ({one_line(error)}); {self.again}"
            ) from error

    @property
    def again(self) -> str:
        """What to do about a package that does not fit."""
        return f"compile it again: {one_line(self.command, COMMAND_SHOWN)}"


def this_target(device: str) -> str:
    """What code for a device of this machine runs on, as sidecars name it."""
    if device == "cpu":
        return torch.backends.cpu.get_cpu_capability()
    return ".".join(map(str, torch.cuda.get_device_capability()))


def write_compiled_sidecar(sidecar: CompiledSidecar, package: str | os.PathLike[str]) -> None:
    """Write the sidecar of a package, atomically."""
    with atomic_write(sidecar_path(package)) as temporary:
        temporary.write_text(json.dumps(asdict(sidecar), indent=1) + "\n")


def read_compiled_sidecar(package: str | os.PathLike[str]) -> CompiledSidecar:
    """Read the sidecar of a package.

    Raises:
        UserError: there is no sidecar, or it is unreadable.
    """
    path = sidecar_path(package)
    if not path.is_file():
        raise UserError(
            f"{package}: has no sidecar {path.name}, so its origin is unknown, and a package can run any code; compile "
            f"it here: python -m engines.build MODEL.safetensors -o {package}"
        )
    sidecar = read_fields(path, CompiledSidecar, "compile the package again")
    try:
        Canvases(batch=sidecar.batch, sizes=sidecar.sizes)
    except UserError as error:
        raise UserError(
            f"{path}: not a sidecar of python -m engines.build ({one_line(error)}); compile the package again"
        ) from error
    return sidecar


def check_compiled_sidecar(sidecar: CompiledSidecar, package: str | os.PathLike[str], digest: str, device: str) -> None:
    """Refuse a package that is not the file its sidecar describes, or was not compiled for this machine.

    Args:
        sidecar: the package's sidecar.
        package: the package, as errors name it.
        digest: SHA-256 of what is to be loaded.
        device: kind of device that it is to run on.

    Raises:
        UserError: something differs; the message names it, and the command that compiles the package again.
    """
    if device != sidecar.device:
        raise UserError(
            f"{package}: was compiled for device '{sidecar.device}', and '{device}' was asked for; "
            f"use --device {sidecar.device}, or compile it with --device {device}"
        )
    differences = [
        f"{what} is {found}, the package's is {expected}"
        for what, found, expected in (
            ("its SHA-256", digest, sidecar.package_sha256),
            ("PyTorch", torch.__version__, sidecar.torch),
            ("the device's target", this_target(device), sidecar.target),
        )
        if found != expected
    ]
    if differences:
        raise UserError(f"{package}: does not fit: {'; '.join(differences)}; {sidecar.again}")
