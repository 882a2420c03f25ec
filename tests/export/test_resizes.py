"""Maps of few channels are resized channel by channel with the same result, and other maps are left alone."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from export.resizes import resize_channels_apart

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
resize (float[B,{channels},{height},{width}] x) => (float[B,{channels},{tall},{wide}] y)
<float[4] scales = {{1, 1, 2, 2}}> {{
    y = Resize <mode: string = "{mode}", coordinate_transformation_mode: string = "{places}"> (x, , scales)
}}"""
SIZED = """
<ir_version: 10, opset_import: ["" : 20]>
resize (float[3,2,4,5] x) => (float[3,2,8,10] y)
<int64[4] sizes = {3, 2, 8, 10}> {
    y = Resize <mode: string = "linear"> (x, , , sizes)
}"""


def text(channels: int = 2, mode: str = "linear", places: str = "align_corners", known: bool = True) -> str:
    sizes = (4, 5, 8, 10) if known else ("H", "W", "H2", "W2")
    height, width, tall, wide = sizes
    return GRAPH.format(**locals())


def rewritten(text: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    before = onnx.parser.parse_model(text)
    model = ir.from_proto(before)
    resize_channels_apart(model.graph)
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    return before, after


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return np.asarray(y)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("channels", [2, 3, 7])
@pytest.mark.parametrize("places", ["align_corners", "half_pixel"])
def test_the_same_bits_from_planes(channels: int, places: str) -> None:
    before, after = rewritten(text(channels, places=places))
    assert kinds(after) == ["Reshape", "Resize", "Reshape"]
    assert [output.name for output in after.graph.output] == ["y"]
    x = np.random.default_rng(0).normal(size=(3, channels, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(after, x), run(before, x))


@pytest.mark.parametrize(
    "graph",
    [text(channels=1), text(channels=8), text(mode="nearest", places="asymmetric"), text(known=False), SIZED],
    ids=["one channel", "a full register", "nearest", "unknown sizes", "sizes in place of scales"],
)
def test_others_are_left_alone(graph: str) -> None:
    before, after = rewritten(graph)
    assert kinds(after) == kinds(before) == ["Resize"]


def test_known_numbers_of_images_stay_known() -> None:
    _, after = rewritten(text().replace("[B,", "[5,"))
    shapes = {v.name: [size.dim_value for size in v.type.tensor_type.shape.dim] for v in after.graph.value_info}
    assert (shapes["y_source_planes"], shapes["y_planes"]) == ([10, 1, 4, 5], [10, 1, 8, 10])
