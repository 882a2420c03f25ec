"""Compile a detector, prove that it agrees with eager PyTorch, and only then write it, with its sidecar."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.compiled.canvases import Canvases, Size
from engines.compiled.engine import CompiledEngine, require_runnable
from engines.compiled.program import Source, compile_package
from engines.compiled.sidecar import CompiledSidecar, this_target, write_compiled_sidecar
from engines.torch_engine import TorchEngine
from engines.trt.sidecar import sidecar_path
from refinemask.agreement import PARITY, Comparison, agreement, compare, require_agreement, verification_images
from refinemask.bundled import DEMO
from refinemask.config import ModelConfig, to_json
from refinemask.contract import default_sizes
from refinemask.data.transforms import preprocess
from refinemask.files import UserError, atomic_write, sha256
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
    config, precision = read_config(checkpoint), _precision(checkpoint, precision, device)
    shapes = Canvases(batch=batch, sizes=tuple(canvases or default_canvases(config)))
    require_runnable(checkpoint, device)
    if output.suffix != ".pt2":
        raise UserError(f"{output}: expected the name of a .pt2 file")
    with atomic_write(output) as package:
        compile_package(Source(checkpoint, precision, device, batch), shapes.sizes, package)
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
        if check:
            sidecar = _checked(sidecar, checkpoint, package, output, images)
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


def _checked(
    sidecar: CompiledSidecar, checkpoint: Path, package: Path, output: Path, images: Path | None
) -> CompiledSidecar:
    """The sidecar with the package's agreement; raises a MismatchError if that is too little."""
    try:
        write_compiled_sidecar(sidecar, package)
        compiled = CompiledEngine(package, device=sidecar.device)
        comparisons = list(_comparisons(compiled, checkpoint, sidecar, verification_images(images or DEMO)))
    finally:
        sidecar_path(package).unlink(missing_ok=True)
    parity = PARITY[sidecar.precision]
    require_agreement(comparisons, parity, output, "eager PyTorch in fp32")
    return replace(sidecar, agreement=agreement(comparisons, parity))


def _comparisons(
    compiled: CompiledEngine, checkpoint: Path, sidecar: CompiledSidecar, images: Sequence[NDArray[np.uint8]]
) -> Iterator[Comparison]:
    """Full batches of each size, and one of a single image, always of other images."""
    eager = TorchEngine(checkpoint, device=sidecar.device)
    batches = [(sidecar.batch, size) for size in sidecar.sizes]
    if sidecar.batch > 1:
        batches.append((1, sidecar.sizes[0]))
    endless = cycle(images)
    for batch, size in batches:
        inputs = preprocess(list(islice(endless, batch)), compiled.config.preprocessing, size)
        expected, found = (engine.infer(inputs.images, inputs.image_sizes) for engine in (eager, compiled))
        yield compare((batch, *size), expected, found)


def _command(checkpoint: Path, output: Path, device: str, precision: str, shapes: Canvases) -> str:
    words = ["python", "-m", "engines.build", str(checkpoint), "-o", str(output), "--device", device]
    words += ["--precision", precision, "--batch", str(shapes.batch), "--canvases"]
    return shlex.join(words + [f"{height}x{width}" for height, width in shapes.sizes])
