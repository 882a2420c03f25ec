"""TensorRT's parser and builder take the plugins: parsed and built ahead of time with TensorRT-RTX, on a CPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from onnx import TensorProto

from tests.support import rtx_build
from trt_plugins.python_plugin.base import NAMESPACE, VERSION

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install -e '.[rtx]'")

FLOAT, HALF, BFLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
POOLING = {"output_size": 7, "sampling_ratio": 0, "finest_scale": 56}
"""All attributes that files of release 0.5.0 have; a node of one level has had its channels since then, too."""


def custom_node(name: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    plugin = {"plugin_version": VERSION, "plugin_namespace": NAMESPACE}
    return oh.make_node(name, inputs, outputs, domain="refinemask", **attributes, **plugin)


def model(nodes: list[onnx.NodeProto], inputs: dict, outputs: dict, weights: list[onnx.TensorProto]) -> bytes:
    values = [[oh.make_tensor_value_info(name, *value) for name, value in part.items()] for part in (inputs, outputs)]
    graph = oh.make_graph(nodes, "graph", values[0], values[1], weights)
    return oh.make_model(
        graph, opset_imports=[oh.make_opsetid("", 20), oh.make_opsetid("refinemask", 1)]
    ).SerializeToString()


def pooling_model(
    dtype: int, levels: int, rois: int = FLOAT, convolutions: bool = False, roi_columns: int = 5
) -> bytes:
    """RoIAlign of inputs or, as in the detector, between convolutions, which like channels last."""
    maps = {f"f{i}": (dtype, ["B", 16, "h", "w"]) for i in range(levels)}
    nodes, weights, pooled = [], [], list(maps)
    if convolutions:
        pooled = [f"c{i}" for i in range(levels)]
        weight = np.ones((16, 16, 1, 1), oh.tensor_dtype_to_np_dtype(dtype))
        weights = [onnx.numpy_helper.from_array(weight, "weight")]
        nodes = [oh.make_node("Conv", [a, "weight"], [b]) for a, b in zip(maps, pooled, strict=True)]
    nodes.append(custom_node(f"MultilevelRoIAlign{levels}", [*pooled, "rois"], ["pooled"], **POOLING))
    nodes.append(
        oh.make_node("Conv" if convolutions else "Identity", ["pooled", *(["weight"] * convolutions)], ["out"])
    )
    inputs = {**maps, "rois": (rois, ["R", roi_columns])}
    return model(nodes, inputs, {"out": (dtype, ["R", 16, 7, 7])}, weights)


def nms_model() -> bytes:
    node = custom_node("FixedNMS", ["boxes", "scores"], ["indices", "num_kept"], iou_threshold=0.7, k=100)
    inputs = {"boxes": (FLOAT, ["G", "N", 4]), "scores": (FLOAT, ["G", "N"])}
    outputs = {"indices": (TensorProto.INT32, ["G", 100]), "num_kept": (TensorProto.INT32, ["G"])}
    return model([node], inputs, outputs, [])


def merge_model() -> bytes:
    node = custom_node("BoundaryMerge", ["coarse", "fine"], ["merged"])
    inputs = {"coarse": (FLOAT, ["R", 1, 28, 28]), "fine": (FLOAT, ["R", 1, 56, 56])}
    return model([node], inputs, {"merged": (FLOAT, ["R", 1, 56, 56])}, [])


def proposals_model(dtype: int, convolutions: bool = False) -> bytes:
    """Proposals of inputs or, as in the detector, of convolutions, which like channels last: 15 lie in 16."""
    maps = {f"f{i}": (dtype, ["B", 16 if convolutions else 15, "h", "w"]) for i in range(5)}
    nodes, weights, predicted = [], [], list(maps)
    if convolutions:
        predicted = [f"c{i}" for i in range(5)]
        weight = np.ones((15, 16, 1, 1), oh.tensor_dtype_to_np_dtype(dtype))
        weights = [onnx.numpy_helper.from_array(weight, "weight")]
        nodes = [oh.make_node("Conv", [a, "weight"], [b]) for a, b in zip(maps, predicted, strict=True)]
    weights.append(onnx.numpy_helper.from_array(np.ones((5, 3, 4), np.float32), "anchors"))
    nodes.append(custom_node("SelectProposals", [*predicted, "anchors", "image_sizes"], ["boxes", "scores"], k=1000))
    # The rows of an image are put together, as the detector does.
    nodes += [
        oh.make_node("Constant", [], ["shape"], value_ints=[-1, 5000]),
        oh.make_node("Reshape", ["scores", "shape"], ["rows"]),
        custom_node("TopScores", ["rows"], ["best", "indices"], k=700),
    ]
    inputs = {**maps, "image_sizes": (FLOAT, ["B", 2])}
    outputs = {
        "boxes": (FLOAT, [None, 1000, 4]),
        "best": (FLOAT, ["B", 700]),
        "indices": (TensorProto.INT32, ["B", 700]),
    }
    return model(nodes, inputs, outputs, weights)


def joint_model(dtype: int) -> bytes:
    """Three uses of channels of one convolution's map, as in the mask head; the last begins within a vector."""
    kind = oh.tensor_dtype_to_np_dtype(dtype)
    weights = [onnx.numpy_helper.from_array(np.ones((28, 16, 1, 1), kind), "weight")]
    nodes, outputs = [oh.make_node("Conv", ["f0", "weight"], ["joint"])], {}
    for begin, channels in ((0, 16), (16, 8), (20, 8)):
        name, part = f"pooled{begin}", {"channel_begin": begin, "channels": channels}
        nodes.append(custom_node("MultilevelRoIAlign1", ["joint", "rois"], [name], **POOLING, **part))
        outputs[name] = (dtype, ["R", channels, 7, 7])
    return model(nodes, {"f0": (dtype, ["B", 16, "h", "w"]), "rois": (FLOAT, ["R", 5])}, outputs, weights)


def label_logits_model(dtype: int, mask_channels: int, planar: bool = False) -> bytes:
    """The logits of a convolution's result or, planar, of an input."""
    array = oh.tensor_dtype_to_np_dtype(dtype)
    weights = {
        "conv": np.ones((14, 14, 1, 1), array),
        "weight": np.ones((80, 14 + mask_channels), array),
        "bias": np.ones(80, array),
    }
    inputs = {"x": (dtype, ["R", 14, 28, 28]), "labels": (TensorProto.INT32, ["R"])}
    maps, side = ["x" if planar else "features"], 28
    nodes = [] if planar else [oh.make_node("Conv", ["x", "conv"], ["features"])]
    if mask_channels:
        inputs["masks"], side = (dtype, ["R", mask_channels, 56, 56]), 56
        maps.append("masks")
    name = "UpsampledLabelLogits" if mask_channels else "LabelLogits"
    nodes.append(custom_node(name, [*maps, "weight", "bias", "labels"], ["logits"]))
    tensors = [onnx.numpy_helper.from_array(value, key) for key, value in weights.items()]
    return model(nodes, inputs, {"logits": (FLOAT, ["R", 1, side, side])}, tensors)


MODELS = {
    "pooling fp32": pooling_model(FLOAT, 4),
    "pooling fp16": pooling_model(HALF, 4, convolutions=True),
    "pooling bf16": pooling_model(BFLOAT16, 1),
    "one level fp16": pooling_model(HALF, 1, convolutions=True),
    "nms": nms_model(),
    "merge": merge_model(),
    "proposals fp32": proposals_model(FLOAT),
    "proposals fp16": proposals_model(HALF, convolutions=True),
    "proposals bf16": proposals_model(BFLOAT16),
    "channels fp16": joint_model(HALF),
    "channels fp32": joint_model(FLOAT),
    "label logits fp32": label_logits_model(FLOAT, 0),
    "label logits fp16": label_logits_model(HALF, 0),
    "label logits bf16": label_logits_model(BFLOAT16, 0),
    "upsampled label logits fp32": label_logits_model(FLOAT, 2, planar=True),
    "upsampled label logits fp16": label_logits_model(HALF, 2),
    "upsampled label logits bf16": label_logits_model(BFLOAT16, 3),
}
PLUGIN_LAYERS = {"proposals fp32": 2, "proposals fp16": 2, "proposals bf16": 2, "channels fp16": 3, "channels fp32": 3}
"""Plugin layers of models that have more than one."""


def run(plugins: str, models: list[bytes], directory: Path, targets: tuple[str, ...]) -> list[dict[str, Any]]:
    paths = [directory / f"{index}.onnx" for index in range(len(models))]
    for path, content in zip(paths, models, strict=True):
        path.write_bytes(content)
    result = rtx_build.run_with_library_path([plugins, *map(str, paths), "--targets", *targets])
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_all_built(results: list[dict[str, Any]]) -> None:
    for name, result in zip(MODELS, results, strict=True):
        assert result["layers"].count("PLUGIN_V3") == PLUGIN_LAYERS.get(name, 1), (name, result)
        assert all(result["engines"].values()), (name, result)


def test_python_plugins_build_for_ada_and_blackwell(tmp_path: Path) -> None:
    results = run("python", list(MODELS.values()), tmp_path, ("SM89", "SM120"))
    assert_all_built(results)


def test_the_library_builds_for_ada_and_blackwell(plugin_library: Path, tmp_path: Path) -> None:
    results = run(str(plugin_library), list(MODELS.values()), tmp_path, ("SM89", "SM120"))
    assert_all_built(results)


def test_half_precision_rois_are_refused_by_name(plugin_library: Path, tmp_path: Path) -> None:
    (result,) = run(str(plugin_library), [pooling_model(HALF, 4, rois=HALF)], tmp_path, ("SM89",))
    assert not any(result["engines"].values())
    assert any("MultilevelRoIAlign4: rois are float16; expected float32" in line for line in result["messages"])


def test_half_precision_rois_are_refused_by_the_python_plugin(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(pooling_model(HALF, 4, rois=HALF))
    result = rtx_build.run_with_library_path(["python", str(tmp_path / "model.onnx")])
    assert json.loads(result.stdout)["engines"] == {}
    assert "MultilevelRoIAlign4: rois are HALF; expected float32" in result.stderr


def test_rois_without_a_batch_index_are_refused_by_name(plugin_library: Path, tmp_path: Path) -> None:
    (result,) = run(str(plugin_library), [pooling_model(HALF, 4, roi_columns=4)], tmp_path, ("SM89",))
    assert not any(result["engines"].values())
    assert any("MultilevelRoIAlign4: rois are [1000, 4]; expected [R, 5]" in line for line in result["messages"])


def test_rois_without_a_batch_index_are_refused_by_the_python_plugin(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(pooling_model(HALF, 4, roi_columns=4))
    result = rtx_build.run_with_library_path(["python", str(tmp_path / "model.onnx"), "--targets", "SM89"])
    assert json.loads(result.stdout)["engines"] == {"SM89": None}
    assert "MultilevelRoIAlign4: rois are [1000, 4]; expected [R, 5]" in result.stderr


def test_without_plugins_the_parser_names_the_operator(tmp_path: Path) -> None:
    (result,) = run("none", [nms_model()], tmp_path, ("SM89",))
    assert not result["layers"]
    assert any("FixedNMS" in line for line in result["messages"])
