"""The parts of tiny detectors as they are traced, with inputs in which there is something to detect."""

import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from engines.compiled.program import Program, traced_parts
from refinemask.modeling.box_head import DetectedBoxes
from refinemask.modeling.exported import ExportedDetector
from tests.support.tiny_families import make_tiny_family

SIZE = (64, 96)


def make_batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two images of noise, of which the second is valid to 50 × 80 only, and their sizes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8, generator=generator)
    return images, torch.tensor([SIZE, (50, 80)])


@dataclass(frozen=True)
class TracedParts:
    """The parts of a detector, and the inputs of each that :func:`make_batch` comes to."""

    exported: ExportedDetector
    modules: dict[str, fx.GraphModule]
    inputs: dict[str, tuple[Any, ...]]

    def copy(self, part: str) -> fx.GraphModule:
        """A copy of a part, for a pass to change."""
        return copy.deepcopy(self.modules[part])

    def program(self) -> Program:
        """The parts together."""
        modules = self.modules
        return Program(
            features=modules["features"],
            boxes=lambda features, image_sizes: DetectedBoxes(*modules["boxes"](features, image_sizes)),
            image_maps=modules.get("image_maps") or (lambda features: []),
            masks=modules["masks"],
        )


@torch.no_grad()
def trace(exported: ExportedDetector) -> TracedParts:
    """Trace a detector's parts as they are compiled for a CPU, that is without the passes for GPUs."""
    exported.detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    traced = {name: module for name, module, _ in traced_parts(exported.detector, 2, SIZE, "cpu")}
    images, image_sizes = make_batch()
    features = traced["features"](images, image_sizes)
    boxes = DetectedBoxes(*traced["boxes"](features, image_sizes))
    assert boxes.num_detections.min() > 1
    maps = traced["image_maps"](features) if "image_maps" in traced else []
    inputs = {
        "features": (images, image_sizes),
        "boxes": (features, image_sizes),
        "image_maps": (features,),
        "masks": (features, maps, boxes.boxes, boxes.labels),
    }
    return TracedParts(exported, traced, inputs)


@lru_cache
def traced_family(name: str) -> TracedParts:
    """The parts of a family of :data:`tests.support.tiny_families.MASK_HEADS`, traced once. They must not change."""
    return trace(ExportedDetector(make_tiny_family(name)))


def export_module(module: nn.Module, *inputs: Tensor) -> fx.GraphModule:
    """A module as it is traced before any pass."""
    traced: Any = torch.export.export(module.requires_grad_(False), inputs, strict=False).module(check_guards=False)
    return traced


def run(module: fx.GraphModule, inputs: tuple[Any, ...]) -> list[Tensor]:
    """All results of a part."""
    with torch.no_grad():
        return tree_leaves(module(*inputs))


def targets(module: fx.GraphModule) -> list[object]:
    """What a graph calls, in order."""
    return [node.target for node in module.graph.nodes if node.op == "call_function"]
