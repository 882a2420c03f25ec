"""The graph of an exported file: a detector as an ONNX model with the custom operators and their bodies."""

import warnings
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, CommonSubexpressionEliminationPass
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor, nn

from export.bodies import function_bodies
from export.dynamic_shapes import dynamic_shapes
from export.gathers import simplify_gathers
from export.names import name_by_module
from export.operators import translation_table
from export.precision import choose_opset
from export.resizes import resize_channels_apart
from refinemask import __version__
from refinemask.contract import INPUTS, OUTPUTS, Bounds, Masks, Metadata
from refinemask.modeling.boundaries import observed
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import DTYPES, ExportedDetector, Precision
from refinemask.ops.fused import fused_operators

BOUNDARY = "boundary."
"""What the names of the values between a detector's stages begin with."""


def to_onnx(
    detector: Detector,
    bounds: Bounds,
    *,
    precision: Precision = "fp32",
    masks: Masks = "all",
    opset: int | None = None,
) -> ir.Model:
    """The detector as an ONNX model with the custom operators' bodies, and with all metadata but the checkpoint's.

    Args:
        detector: the detector.
        bounds: batches and sizes that the model accepts.
        precision: type of weights and features.
        masks: which places for detections get a mask.
        opset: ONNX operator set; None is the precision's own.

    Raises:
        UserError: the operator set does not have the precision.
    """
    height, width = bounds.height[2], bounds.width[2]
    # Two images where the batch varies: an example of one would be taken for a constant.
    batch = max(bounds.batch[0], min(bounds.batch[2], 2))
    example = (torch.zeros(batch, 3, height, width, dtype=torch.uint8), torch.tensor([[height, width]] * batch))
    module = _ObservedDetector(detector, DTYPES[precision], masks)
    with fused_operators():
        model = trace(
            module,
            example,
            opset=choose_opset(precision, opset),
            inputs=INPUTS,
            outputs=OUTPUTS,
            dynamic_shapes=dynamic_shapes(bounds),
        )
    _take_sizes_from_cast_images(model.graph)
    tidy(model, "detector")
    _name_boundaries(model, module.names)
    # The bodies come last, because the optimisation would inline them.
    add_bodies(model)
    metadata = Metadata(config=detector.config, precision=precision, bounds=bounds, masks=masks, exporter=__version__)
    model.metadata_props.update(metadata.to_properties())
    return model


def trace(
    module: nn.Module,
    example: tuple[Tensor, ...],
    *,
    opset: int,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: dict[str, Any] | None = None,
) -> ir.Model:
    """The graph that PyTorch's exporter makes of a module, with our torch operators as nodes of the custom domain.

    Args:
        module: a module in eval mode, whose parameters need no gradients.
        example: the module's inputs; a size that ``dynamic_shapes`` does not name is fixed to the example's.
        opset: ONNX operator set.
        inputs: names of the graph's inputs.
        outputs: names of the graph's outputs.
        dynamic_shapes: the dimensions that may vary, as :func:`torch.export.export` takes them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            custom_translation_table=translation_table(),
        )
    assert program is not None
    return program.model


def tidy(model: ir.Model, root: str) -> None:
    """Fold constants, merge equal computations, simplify gathers and resizes, name nodes by their modules, in place.

    Args:
        model: a traced model without function bodies.
        root: the traced module's child whose name is left out of the nodes' names.
    """
    # Merged convolutions concatenate and slice weights, which the exporter's own folding finds too large.
    size = 1 << 40
    fold_constants(model, input_size_limit=size, output_size_limit=size)
    CommonSubexpressionEliminationPass()(model)
    simplify_gathers(model.graph)
    resize_channels_apart(model.graph)
    remove_unused_nodes(model)
    name_by_module(model.graph, root)
    # The exporter notes the source lines of every node, with the paths of this machine.
    ClearMetadataAndDocStringPass()(model)


def add_bodies(model: ir.Model) -> None:
    """Give the model the bodies of the custom operators, in its own operator set."""
    for function in function_bodies(model.opset_imports[""]):
        model.functions[function.identifier()] = function


class _ObservedDetector(ExportedDetector):
    """Returns the values at the boundaries of its stages too, behind the contract's outputs."""

    names: tuple[str, ...] = ()
    """The boundaries' names, known after the first forward pass."""

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        with observed() as boundaries:
            detections = super().forward(images, image_sizes)
        self.names = tuple(boundaries.seen)
        return (*detections, *boundaries.seen.values())


def _name_boundaries(model: ir.Model, names: Sequence[str]) -> None:
    """Give the boundaries' values their names; they cease to be outputs, which are the contract's alone."""
    outputs = model.graph.outputs
    for value, name in zip(outputs[len(OUTPUTS) :], names, strict=True):
        value.name = BOUNDARY + name
    # Not by del, after which the values would still be taken for outputs, and their shapes would not be written.
    outputs[len(OUTPUTS) :] = ()
    remove_unused_nodes(model)


def _take_sizes_from_cast_images(graph: ir.Graph) -> None:
    """Take shapes from the float images: TensorRT accepts uint8 for a network input alone, and only in a cast."""
    images = graph.inputs[0]
    (cast,) = (node for node in images.consumers() if node.op_type == "Cast")
    graph.remove(cast)
    graph.insert_before(graph[0], cast)
    for node in images.consumers():
        if node.op_type == "Shape":
            node.replace_input_with(0, cast.outputs[0])
