"""Compile a detector, prove that it agrees with eager PyTorch, and only then write it, with its sidecar."""

import io
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.markup import escape
from rich.progress import track

from engines.canvases import Canvases, Size
from engines.compiled.child import check_in_child, compile_in_children
from engines.compiled.compiler import require_compiler
from engines.compiled.engine import require_runnable
from engines.compiled.parts import PARTS
from engines.compiled.program import Source
from engines.compiled.sidecar import CompiledSidecar, this_target, write_compiled_sidecar
from engines.trt.sidecar import sidecar_path
from refinemask.agreement import PARITY, agreement, require_agreement, verification_images
from refinemask.bundled import DEMO
from refinemask.config import ModelConfig
from refinemask.config_json import to_json
from refinemask.contract import default_sizes
from refinemask.files import UserError, atomic_write, require_not_input, sha256
from refinemask.weights import read_config, read_metadata

PRECISIONS = {"cuda": ("fp16", "bf16", "tf32", "fp32"), "cpu": ("fp32", "bf16")}
"""Precisions that can be compiled, by device; the first is the default."""


def default_canvases(config: ModelConfig) -> tuple[Size, ...]:
    """The sizes of landscape and portrait images as the model's preprocessing makes them."""
    (_, short, long), _ = default_sizes(config.preprocessing)
    return tuple(dict.fromkeys([(short, long), (long, short)]))


def compile_verified(
    checkpoint: Path,
    output: Path,
    *,
    device: str,
    precision: str | None,
    canvases: Sequence[Size] | None,
    batch: int,
    images: Path | None,
    check: bool,
) -> CompiledSidecar:
    """Compile, compare, write the package and its sidecar; see :func:`engines.compile_engine`."""
    for written in (output, sidecar_path(output)):
        require_not_input(written, checkpoint)
    if output.suffix != ".pt2":
        raise UserError(
            f"{output}: expected the name of a .pt2 file, because {checkpoint} is compiled by PyTorch; TensorRT builds "
            "a .engine of an exported file: python -m export.to_onnx"
        )
    config, precision = read_config(checkpoint), _precision(checkpoint, precision, device)
    shapes = Canvases(batch=batch, sizes=tuple(canvases or default_canvases(config)))
    require_runnable(checkpoint, device)
    pictures = (images or DEMO) if check else None
    if pictures is not None:
        # Before minutes of compiling.
        verification_images(pictures, window=config.preprocessing.window)
    require_compiler(checkpoint)
    with atomic_write(output) as package:
        content = _compiled(Source(checkpoint, precision, device, batch), shapes.sizes)
        try:
            package.write_bytes(content)
        except OSError as error:
            raise UserError(f"{output}: cannot be written: {error.strerror}") from error
        sidecar = CompiledSidecar(
            package_sha256=sha256(package),
            checkpoint=checkpoint.name,
            checkpoint_sha256=sha256(checkpoint),
            recipe=read_metadata(checkpoint).get("recipe", ""),
            config=to_json(config),
            precision=precision,
            device=device,
            target=this_target(device),
            torch=torch.__version__,
            processor="" if device == "cpu" else torch.cuda.get_device_name(),
            batch=batch,
            sizes=shapes.sizes,
            agreement=None,
            command=_command(checkpoint, output, device, precision, shapes),
        )
        sidecar = _checked(sidecar, checkpoint, package, output, pictures)
    write_compiled_sidecar(sidecar, output)
    return sidecar


def _precision(checkpoint: Path, precision: str | None, device: str) -> str:
    if device not in PRECISIONS:
        raise UserError(f"{checkpoint}: device '{device}' was asked for; expected {' or '.join(PRECISIONS)}")
    possible = PRECISIONS[device]
    if precision not in (None, *possible):
        raise UserError(
            f"{checkpoint}: '{precision}' cannot be compiled for device '{device}'; expected {', '.join(possible)}"
        )
    return precision or possible[0]


def _compiled(source: Source, sizes: Sequence[Size]) -> bytes:
    """The bytes of a package."""
    from torch._inductor.package import package_aoti

    jobs = [(part, size) for size in sizes for part in PARTS]
    compiled = compile_in_children({**asdict(source), "checkpoint": str(source.checkpoint)}, jobs)
    found = track(compiled, f"compiling {escape(source.checkpoint.name)}", len(jobs), transient=True)
    # Into memory: PyTorch's writer of files ends the process where the disk is full.
    package = io.BytesIO()
    package_aoti(package, {name: files for name, files in found if files})
    return package.getvalue()


def _checked(
    sidecar: CompiledSidecar, checkpoint: Path, package: Path, output: Path, pictures: Path | None
) -> CompiledSidecar:
    """The sidecar with the package's agreement; raises a MismatchError if that is too little.

    Args:
        pictures: directory of the pictures to compare on; None compares nothing, but loads and runs the package.
    """
    try:
        write_compiled_sidecar(sidecar, package)
        names = {"checkpoint": str(checkpoint), "output": str(output)}
        comparisons = check_in_child(package, **names, pictures=None if pictures is None else str(pictures))
    finally:
        sidecar_path(package).unlink(missing_ok=True)
    if pictures is None:
        return sidecar
    parity = PARITY[sidecar.precision]
    require_agreement(comparisons, parity, output, "eager PyTorch in fp32")
    return replace(sidecar, agreement=agreement(comparisons, parity))


def _command(checkpoint: Path, output: Path, device: str, precision: str, shapes: Canvases) -> str:
    words = ["python", "-m", "engines.build", str(checkpoint), "-o", str(output), "--device", device]
    words += ["--precision", precision, "--batch", str(shapes.batch), "--canvases"]
    return shlex.join(words + [f"{height}x{width}" for height, width in shapes.sizes])
