"""From a detector to compiled code: traced part by part, rearranged, and compiled ahead of time."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast
from zipfile import ZipFile

import torch
from torch import Tensor, fx, nn
from torch.export import Dim

from engines.canvases import Size
from engines.compiled.conv_relu import fuse_conv_relu
from engines.compiled.flat_linear import keep_channels_last
from engines.compiled.fold_weights import fold_weights
from engines.compiled.narrow_conv import expand_narrow_convs
from engines.compiled.narrow_products import expand_narrow_products
from engines.compiled.noexecstack import forbid_executable_stack
from engines.compiled.padded_stages import pad_stages
from engines.compiled.parts import Boxes, Features, ImageMaps, Masks
from engines.compiled.siblings import join_siblings
from engines.compiled.top_k import join_top_k
from engines.compiled.trace import trace
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import DTYPES, ExportedDetector, Precision
from refinemask.weights import load_detector


@dataclass(frozen=True)
class Program:
    """The parts of a detector for one size of images, compiled or not, on one device."""

    features: Callable[[Tensor, Tensor], list[Tensor]]
    """See :class:`engines.compiled.parts.Features`, and so on."""
    boxes: Callable[[list[Tensor], Tensor], DetectedBoxes]
    image_maps: Callable[[list[Tensor]], list[Tensor]]
    masks: Callable[[list[Tensor], list[Tensor], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Source:
    """What code is compiled from, and for what."""

    checkpoint: Path
    """The .safetensors file."""
    precision: str
    """Arithmetic of the convolutions: fp32, tf32, fp16 or bf16."""
    device: str
    """Kind of device: ``cpu`` or ``cuda``."""
    batch: int
    """Number of images of a full batch."""

    def detector(self) -> Detector:
        """The detector on its device as it is compiled: batch norm folded, channels last, in its type."""
        dtype = DTYPES["fp32" if self.precision == "tf32" else cast(Precision, self.precision)]
        exported = ExportedDetector(load_detector(self.checkpoint), dtype)
        if self.device != "cpu":
            pad_stages(exported.detector.mask_head)
        return exported.detector.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def part_name(part: str, size: Size) -> str:
    """Name of a part for a size, within a package."""
    return f"{part}_{size[0]}x{size[1]}"


def compile_part(source: Source, part: str, size: Size) -> list[str] | None:
    """Compile one part for one size; returns the files it comes to, or None if the detector has no such part."""
    for name, module, arguments in traced_parts(source.detector(), source.batch, size, source.device):
        if name == part:
            found = torch._inductor.aot_compile(module, arguments, options=_options(source.device))
            files = [str(file) for file in found]  # type: ignore[union-attr]
            for file in files:
                if file.endswith(".so"):
                    forbid_executable_stack(Path(file))
            return files
    return None


@torch.no_grad()
def traced_parts(
    detector: Detector, batch: int, size: Size, device: str
) -> Iterator[tuple[str, fx.GraphModule, tuple[Any, ...]]]:
    """Name, graph and example inputs of each part.

    The examples are what the parts before it return, because compiled code relies on the strides it was compiled for.
    """
    images = torch.zeros(batch, 3, *size, dtype=torch.uint8, device=device)
    image_sizes = torch.tensor([size] * batch, device=device)
    yield from [("features", *(traced := _trace(Features(detector), (images, image_sizes))))]
    features = traced[0](images, image_sizes)
    yield from [("boxes", *(traced := _trace(Boxes(detector), (features, image_sizes))))]
    found = DetectedBoxes(*traced[0](features, image_sizes))
    maps: list[Tensor] = []
    if detector.mask_head.image_maps(features):
        yield from [("image_maps", *(traced := _trace(ImageMaps(detector), (features,))))]
        maps = traced[0](features)
    places = found.labels.shape[1]
    # A size of one is never taken for a variable one.
    varying = {1: Dim("places", min=2, max=places)} if places > 2 else None
    shapes = ([None] * len(features), [None] * len(maps), varying, varying)
    yield "masks", *_trace(Masks(detector), (features, maps, found.boxes, found.labels), shapes)


def _trace(
    module: nn.Module, arguments: tuple[Any, ...], dynamic_shapes: Any = None
) -> tuple[fx.GraphModule, tuple[Any, ...]]:
    traced = trace(module, arguments, dynamic_shapes)
    fold_weights(traced)
    if next(module.parameters()).is_cuda:
        rearrange_for_gpus(traced)
    return traced, arguments


def rearrange_for_gpus(module: fx.GraphModule) -> None:
    """Put the same computation into fewer and faster kernels, in place."""
    expand_narrow_convs(module)
    expand_narrow_products(module)
    fuse_conv_relu(module)
    # What a ReLU follows is no plain convolution any more.
    join_siblings(module)
    keep_channels_last(module)
    join_top_k(module)


def _options(device: str) -> dict[str, Any]:
    common = {"aot_inductor.package": True}
    # On a CPU weights are packed for oneDNN's convolutions, which frozen weights alone allow.
    return common | ({"freezing": True} if device == "cpu" else {})


def load_programs(path: Path, sizes: tuple[Size, ...]) -> dict[Size, Program]:
    """The compiled programs of a package. This runs the package's code: its origin must have been checked.

    Raises:
        RuntimeError: the package cannot be loaded.
        BadZipFile: it is no archive.
        KeyError: it has no code for one of the sizes.
    """
    with ZipFile(path) as archive:
        names = {PurePosixPath(name).parent.name for name in archive.namelist()}
    return {size: _program(path, size, names) for size in sizes}


def _program(path: Path, size: Size, names: set[str]) -> Program:
    def runner(part: str) -> Callable[..., list[Tensor]]:
        name = part_name(part, size)
        if name not in names:
            raise KeyError(name)
        # PyTorch's own load_pt2 imports its compiler first, which takes seconds, and reads JSON in every call. Locks
        # for several threads would wait for the device, which a recorded CUDA graph must not.
        loader = torch._C._aoti.AOTIModelPackageLoader(os.fspath(path), name, True, 1, -1)
        return lambda *tensors: loader.boxed_run(list(tensors))

    features, boxes, masks = (runner(part) for part in ("features", "boxes", "masks"))
    image_maps = runner("image_maps") if part_name("image_maps", size) in names else lambda *features: []
    return Program(
        features=features,
        boxes=lambda features, image_sizes: DetectedBoxes(*boxes(*features, image_sizes)),
        image_maps=lambda features: image_maps(*features),
        masks=lambda features, image_maps, few, labels: masks(*features, *image_maps, few, labels)[0],
    )
