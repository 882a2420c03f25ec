"""What ``nvinfer`` makes of a video frame, and an exported file's network as it can feed it.

``nvinfer`` writes float32 into the first input of a network, whatever type that input has, and fills every other input
once, before the first frame. So the network for it has one input, float32, and the valid size of its images is a
constant: in a pipeline all frames have one size, which ``nvstreammux`` gives them.
"""

from typing import TYPE_CHECKING

import numpy as np

from refinemask.files import UserError

if TYPE_CHECKING:
    import onnx

OUTPUTS = ("boxes", "scores", "labels", "masks")
"""Outputs that the parser reads. ``num_detections`` is not among them: ``nvinfer`` wants a shape behind the batch."""


def fitted(frame: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    """The (height, width) of a frame in the network's input, as ``nvinfer`` resizes it with its ratio kept.

    It rounds the sides of the frame down to even numbers, fills the canvas in one direction, and rounds the other side
    down.

    Args:
        frame: (height, width) of the frames.
        canvas: (height, width) of the network's input.

    Raises:
        UserError: nothing would be left of the frame.
    """
    height, width = (side // 2 * 2 for side in frame)
    if min(height, width) < 2:
        raise UserError(f"frames of {frame[0]}x{frame[1]} (--frame): expected at least 2x2 pixels")
    filled = int(canvas[1] * height / width)
    size = (filled, canvas[1]) if filled <= canvas[0] else (canvas[0], int(canvas[0] * width / height))
    if min(size) < 1:
        raise UserError(f"frames of {frame[0]}x{frame[1]} (--frame) are too long for a network of {canvas}")
    return size


def with_one_input(model: "onnx.ModelProto", size: tuple[int, int], canvas: tuple[int, int]) -> "onnx.ModelProto":
    """The network with float32 ``images`` [B, 3, H, W] of whole numbers from 0 to 255 as its only input.

    Args:
        model: an exported file's model; it is changed.
        size: valid (height, width) of every image.
        canvas: padded (height, width) of the images.

    Raises:
        UserError: the network does anything with its images before it has made other numbers of the bytes.
    """
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    if {node.op_type for node in graph.node if "images" in node.input} != {"Cast"}:
        raise UserError("its images are not converted from bytes first; expected a file of `python -m export.to_onnx`")
    images = next(value for value in graph.input if value.name == "images")
    batch = images.type.tensor_type.shape.dim[0]
    images.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for dimension, side in zip(images.type.tensor_type.shape.dim[2:], canvas, strict=True):
        dimension.Clear()
        dimension.dim_value = side
    constant = np.array([size] * max(1, batch.dim_value), np.int64)
    made = [helper.make_node("Constant", [], ["valid_size"], value=numpy_helper.from_array(constant))]
    if batch.dim_value:
        made[0].output[0] = "image_sizes"
    else:
        two = numpy_helper.from_array(np.array([2], np.int64))
        made += [
            helper.make_node("Shape", ["images"], ["number_of_images"], start=0, end=1),
            helper.make_node("Constant", [], ["two"], value=two),
            helper.make_node("Concat", ["number_of_images", "two"], ["shape_of_sizes"], axis=0),
            helper.make_node("Expand", ["valid_size", "shape_of_sizes"], ["image_sizes"]),
        ]
    nodes = [*made, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(images)
    kept = [output for output in graph.output if output.name in OUTPUTS]
    del graph.output[:], model.metadata_props[:]
    graph.output.extend(kept)
    return model
