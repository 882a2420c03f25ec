"""A compiled package beside eager PyTorch, on real images."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import torch

from engines.compiled.engine import CompiledEngine
from engines.compiled.program import load_programs
from engines.compiled.sidecar import CompiledSidecar, read_compiled_sidecar
from engines.torch_engine import TorchEngine
from refinemask.agreement import Comparison, compare, verification_images
from refinemask.data.transforms import preprocess


def check(package: str, checkpoint: str, output: str, pictures: str | None) -> Iterator[Comparison]:
    """Load a package, and compare it with its checkpoint: full batches of each size, and one of a single image.

    Args:
        package: the package, with its sidecar.
        checkpoint: the .safetensors file that it was compiled from.
        output: name of the package in errors, where it has not got its name yet.
        pictures: directory of the pictures; None compares nothing, and runs one blank batch of each size.

    Raises:
        UserError: the package cannot be loaded, or there are no pictures.
    """
    sidecar = read_compiled_sidecar(package)
    compiled = CompiledEngine(package, device=sidecar.device)
    if pictures is None:
        _run_blank(package, sidecar)
        return
    eager = TorchEngine(checkpoint, device=sidecar.device)
    batches = [(sidecar.batch, size) for size in sidecar.sizes]
    if sidecar.batch > 1:
        batches.append((1, sidecar.sizes[0]))
    window = compiled.config.preprocessing.window
    images = cycle(verification_images(Path(pictures), window=window))
    for batch, size in batches:
        inputs = preprocess(list(islice(images, batch)), compiled.config.preprocessing, size)
        expected, found = (engine.infer(inputs.images, inputs.image_sizes) for engine in (eager, compiled))
        yield compare((batch, *size), expected, found)


@torch.no_grad()
def _run_blank(package: str, sidecar: CompiledSidecar) -> None:
    """Run all code once, so that code which crashes does so here and not in its first user.

    This records nothing and searches for no algorithms: it takes seconds where those take minutes.
    """
    for size, program in load_programs(Path(package), sidecar.sizes).items():
        images = torch.zeros(sidecar.batch, 3, *size, dtype=torch.uint8, device=sidecar.device)
        image_sizes = torch.tensor([size] * sidecar.batch, device=sidecar.device)
        features = program.features(images, image_sizes)
        boxes, maps = program.boxes(features, image_sizes), program.image_maps(features)
        # On the host, for a GPU tells of what went wrong when it is waited for.
        program.masks(features, maps, boxes.boxes, boxes.labels).cpu()
