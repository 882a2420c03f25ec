"""A tiny ONNX file with the exported contract, for tests that need no detector."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from refinemask.config import ModelConfig
from refinemask.config_json import to_json

CONFIG = ModelConfig(class_names=("nucleus",), category_ids=(1,))
BOUNDS = {"batch": [1, 1, 4], "height": [32, 64, 128], "width": [32, 64, 256]}
METADATA = {"config": to_json(CONFIG), "precision": "fp32", "bounds": json.dumps(BOUNDS)}

# What finds its detections in "magnitudes", and the function that it calls.
DETECTIONS = """
    activity, places = TopK (magnitudes, three)
    scores = refinemask.Squash <plugin_version: string = "1", plugin_namespace: string = "refinemask"> (activity)
    zeros = Sub (scores, scores)
    labels = Cast <to: int = 7> (zeros)
    ones = Exp (zeros)
    count = ReduceSum <keepdims: int = 0> (ones, last)
    num_detections = Cast <to: int = 7> (count)
    sizes = Cast <to: int = 1> (image_sizes)
    extent = Gather <axis: int = 1> (sizes, order)
    extents = Unsqueeze (extent, second)
    boxes = Mul (extents, corners)
"""
SQUASH = """
<domain: "refinemask", opset_import: ["" : 20]>
Squash <plugin_version: string = "1", plugin_namespace: string = "refinemask"> (x) => (y)
{
    y = Sigmoid (x)
}
"""

# Three "detections" per image: its whole, half and third, with scores above one half that are means of a convolution,
# in their order, through a model-local function.
GRAPH = (
    """
<ir_version: 10, opset_import: ["" : 20, "refinemask" : 1]>
toy (uint8[B,3,H,W] images, int64[B,2] image_sizes) =>
    (float[B,3,4] boxes, float[B,3] scores, int64[B,3] labels, int64[B] num_detections, float[B,3,4,4] masks)
<float[3,3,3,3] kernel, float one_over_255 = {0.00392156862745098}, int64[2] space = {2, 3},
 int64[1] last = {1}, int64[4] mask_shape = {1, 1, 4, 4}, int64[2] mask_axes = {2, 3}, int64[1] second = {1},
 int64[1] three = {3},
 float[3,4] corners = {0, 0, 1, 1, 0, 0, 0.5, 0.5, 0, 0, 0.33, 0.33}, int64[4] order = {1, 0, 1, 0}>
{
    pixels = Cast <to: int = 1> (images)
    scaled = Mul (pixels, one_over_255)
    features = Conv <pads: ints = [1, 1, 1, 1]> (scaled, kernel)
    means = ReduceMean <keepdims: int = 0> (features, space)
    magnitudes = Abs (means)
"""
    + DETECTIONS
    + """    cells = Unsqueeze (scores, mask_axes)
    masks = Expand (cells, mask_shape)
}
"""
    + SQUASH
)


def write_toy_onnx(path: Path, **metadata: str | None) -> Path:
    """Write the toy file; metadata entries are overridden by keyword, or left out where the value is None."""
    model = onnx.parser.parse_model(GRAPH)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "kernel"))
    onnx.helper.set_model_props(model, {k: v for k, v in (METADATA | metadata).items() if v is not None})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def read_properties(path: Path) -> dict[str, str]:
    """The metadata of a file as :func:`write_toy_onnx` takes it."""
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
