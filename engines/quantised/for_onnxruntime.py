"""A quantised file as ONNX Runtime computes it on this CPU: what is in integers, and what stays in floating point."""

from dataclasses import dataclass

import onnx

from engines.quantised.integer import write_integer
from engines.quantised.layers import quantised_layers
from engines.quantised.overflow import overflowing_layers
from engines.quantised.saturation import kernels_saturate


@dataclass(frozen=True)
class WrittenLayers:
    """The quantised layers of a file."""

    total: int
    """Number of the layers."""
    kept: tuple[str, ...]
    """Names of those that are computed in floating point because 8 bits would overflow."""


def write_for_onnxruntime(model: onnx.ModelProto) -> WrittenLayers:
    """Write the int8 layers of a model as integer operators, in place, but for those that overflow on this CPU."""
    total, saturates = len(list(quantised_layers(model.graph))), kernels_saturate()
    kept = overflowing_layers(model.graph) if saturates else []
    # Where none is written, as beside fp16, all layers stay as they are whatever the CPU.
    return WrittenLayers(total, tuple(kept if write_integer(model, saturates=saturates) else []))
