"""Loading: the right engine for a file, exact answers for wrong files and wishes, in every runtime alike."""

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

import engines
from refinemask.bundled import DEMO
from refinemask.contract import InputError
from refinemask.data.transforms import preprocess
from refinemask.files import UserError
from refinemask.structures import Detections
from tests.support.tolerances import TOLERANCES

BACKENDS = ["onnxruntime", "openvino"]
Toy = Callable[..., Path]
Batch = tuple[np.ndarray, np.ndarray]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    return request.param


def test_runs_the_file_and_keeps_its_metadata(toy_onnx: Toy, batch: Batch, backend: str) -> None:
    path = toy_onnx()
    engine = engines.load(path, backend=backend, threads=1)
    assert (engine.precision, engine.device, engine.config.class_names) == ("fp32", "cpu", ("nucleus",))
    reference = onnx.reference.ReferenceEvaluator(onnx.load(path))
    expected = Detections(*reference.run(None, {"images": batch[0], "image_sizes": batch[1]}))
    found = engine.infer(*batch)
    tolerance = TOLERANCES["onnx reference evaluator"]
    for name, ours, theirs in zip(Detections._fields, found, expected, strict=True):
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_allclose(ours, theirs, rtol=tolerance.relative, atol=tolerance.absolute, err_msg=name)


def test_results_stay_valid_after_the_next_call(toy_onnx: Toy, batch: Batch, backend: str) -> None:
    engine = engines.load(toy_onnx(), backend=backend, threads=1)
    first = engine.infer(*batch)
    kept = [array.copy() for array in first]
    engine.infer(255 - batch[0], batch[1])
    for before, after in zip(kept, first, strict=True):
        np.testing.assert_array_equal(before, after)


def test_bounds_of_the_file_hold(toy_onnx: Toy, backend: str) -> None:
    engine = engines.load(toy_onnx(), backend=backend, threads=1)
    with pytest.raises(InputError, match="height of 32 to 128"):
        engine.infer(np.zeros((1, 3, 160, 64), np.uint8), [[160, 64]])


def test_canvas_follows_the_resize_of_the_model(toy_onnx: Toy) -> None:
    # 20 × 10 becomes 1333 × 667 by the default preprocessing, 10 × 10 becomes 800 × 800.
    bounds = {"batch": [1, 1, 4], "height": [32, 800, 1344], "width": [768, 800, 1344]}
    engine = engines.load(toy_onnx(bounds=json.dumps(bounds)), threads=1)
    assert engine.canvas([(20, 10)]) == (1344, 768)
    assert engine.canvas([(20, 10), (10, 10)]) == (1344, 800)


def test_a_static_file_has_one_canvas(toy_onnx: Toy) -> None:
    bounds = {"batch": [1, 1, 1], "height": [64, 64, 64], "width": [128, 128, 128]}
    engine = engines.load(toy_onnx(bounds=json.dumps(bounds)), threads=1)
    upright = np.zeros((400, 300, 3), np.uint8)
    batch = preprocess([upright], engine.config.preprocessing, engine.canvas([upright.shape[:2]]))
    assert batch.image_sizes.tolist() == [[64, 48]]
    assert engine.infer(batch.images, batch.image_sizes).boxes.shape == (1, 3, 4)
    with pytest.raises(InputError, match="exported for a batch of 1:"):
        engine.infer(np.zeros((2, 3, 64, 128), np.uint8), [[64, 128]] * 2)


def test_a_foreign_onnx_file_is_refused(toy_onnx: Toy, backend: str) -> None:
    with pytest.raises(UserError, match=r"toy\.onnx: not a RefineMask export: its metadata lacks config.*to_onnx"):
        engines.load(toy_onnx(config=None), backend=backend)


@pytest.mark.parametrize("content", [b"", b"hello, this is no model"])
def test_a_broken_onnx_file_is_refused(tmp_path: Path, backend: str, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.onnx"):
        engines.load(path, backend=backend)


def test_a_truncated_onnx_file_is_refused(toy_onnx: Toy, backend: str) -> None:
    path = toy_onnx()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"toy\.onnx"):
        engines.load(path, backend=backend)


def test_texts_that_are_no_utf_8_are_one_line(toy_onnx: Toy, backend: str) -> None:
    path = toy_onnx(recipe="a name")
    path.write_bytes(path.read_bytes().replace(b"a name", b"a n\xf6me"))
    with pytest.raises(
        UserError, match=r"^[^\n]*\.onnx: [^\n]*(what it says of itself|unreadable RefineMask metadata)[^\n]*$"
    ):
        engines.load(path, backend=backend)


def test_wrong_endings_backends_and_missing_files(tmp_path: Path, toy_onnx: Toy) -> None:
    expected = r"no engine for .\.pth. files; expected \.safetensors, \.pt2, \.onnx, \.engine; .*refinemask\.convert "
    with pytest.raises(UserError, match=expected):
        engines.load(tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"no engine for directories; expected .*\.engine; name a file in it$"):
        engines.load(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        engines.load(tmp_path / "model.onnx")
    with pytest.raises(UserError, match="backend 'tensorrt' cannot run it; expected onnxruntime or openvino"):
        engines.load(toy_onnx(), backend="tensorrt")


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**6, 1 << 31, 1 << 63, 10**30, "2", 1.5])
def test_a_number_of_threads_that_no_machine_has_is_refused(toy_onnx: Toy, threads: Any) -> None:
    with pytest.raises(UserError, match=rf"on {threads!r} threads \(--threads\); expected 1 to 1024"):
        engines.load(toy_onnx(), threads=threads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, "cannot run in 0 slots; expected at least 1"),
        ({"slots": 2}, "backend 'onnxruntime' has no slots on device 'cpu'; leave it out"),
        ({"cuda_graph": False, "backend": "openvino"}, "'openvino' has no cuda_graph on device 'cpu'; leave it out"),
        ({"kernels": False}, "backend 'onnxruntime' has no kernels on device 'cpu'; leave it out"),
    ],
)
def test_what_one_backend_has_is_refused_elsewhere(toy_onnx: Toy, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"toy\.onnx: .*{message}"):
        engines.load(toy_onnx(), **options)


def test_onnxruntime_never_changes_the_precision_or_the_device(toy_onnx: Toy) -> None:
    with pytest.raises(UserError, match=r"its precision is fp32.*--precision bf16"):
        engines.load(toy_onnx(), precision="bf16")
    with pytest.raises(UserError, match="device 'tpu'"):
        engines.load(toy_onnx(), device="tpu")


@pytest.mark.parametrize(
    ("file", "asked", "tf32", "precision"),
    [
        ("fp32", None, "0", "fp32"),
        ("fp32", "tf32", "1", "tf32"),
        ("fp16", None, "0", "fp16"),
        ("fp32", "fp32", "0", "fp32"),
    ],
)
def test_onnxruntime_on_a_gpu_computes_in_the_precision_of_its_name(
    toy_onnx: Toy, monkeypatch: pytest.MonkeyPatch, file: str, asked: str | None, tf32: str, precision: str
) -> None:
    import onnxruntime

    session, asked_for = onnxruntime.InferenceSession, []

    def on_a_gpu(path: Path, options: Any, providers: list[Any]) -> Any:
        asked_for.extend(providers)
        opened = session(path, options, providers=["CPUExecutionProvider"])
        opened.get_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
        return opened

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_a_gpu)
    engine = engines.load(toy_onnx(precision=file), device="cuda", precision=asked)
    assert asked_for == [("CUDAExecutionProvider", {"use_tf32": tf32})]
    assert (engine.precision, engine.device) == (precision, "cuda")


def test_onnxruntime_refuses_tf32_where_it_means_nothing(
    toy_onnx: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import onnxruntime

    with pytest.raises(UserError, match=r"toy\.onnx: tf32 does not run on a CPU: .*; use --device cuda"):
        engines.load(toy_onnx(), precision="tf32")
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(session, "get_providers", lambda self: ["CUDAExecutionProvider"])
    with pytest.raises(UserError, match=r"its precision is fp16, .*; for fp32 export with --precision fp32"):
        engines.load(toy_onnx(precision="fp16"), device="cuda", precision="tf32")


def test_a_missing_gpu_is_an_error_not_a_fall_back(toy_onnx: Toy) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("ONNX Runtime has its CUDA provider here")
    with pytest.raises(UserError, match="CUDAExecutionProvider was asked for, but ONNX Runtime offers CPU"):
        engines.load(toy_onnx(), device="cuda")


def test_openvino_executes_in_the_precision_asked_for(toy_onnx: Toy, batch: Batch) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    path = toy_onnx()
    exact = engines.load(path, backend="openvino", precision="fp32", threads=1).infer(*batch).scores
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(UserError, match="bf16 was asked for, but OpenVINO computes"):
            engines.load(path, backend="openvino", precision="bf16")
        return
    coarse = engines.load(path, backend="openvino", precision="bf16", threads=1)
    assert coarse.precision == "bf16"
    difference = np.abs(coarse.infer(*batch).scores - exact).max()
    assert 1e-5 < difference < TOLERANCES["scores in bfloat16"].absolute, (
        "bf16 must be seen in the result, and must be small"
    )


def test_openvino_refuses_what_it_cannot_do(toy_onnx: Toy) -> None:
    with pytest.raises(UserError, match="this one is fp16; export it without --precision"):
        engines.load(toy_onnx(precision="fp16"), backend="openvino")
    with pytest.raises(UserError, match="OpenVINO runs on the cpu, not on cuda"):
        engines.load(toy_onnx(), backend="openvino", device="cuda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m", r"no engine for such files; expected \.safetensors, "),
        ("m.ONNX", r"no engine for '\.ONNX' files; .*; rename it: m\.onnx"),
        ("m.pt", r"python -m refinemask\.convert "),
        ("m.xml", r"OpenVINO runs the \.onnx file itself"),
        ("m.plan", r"rename an engine of TensorRT and its sidecar: m\.engine"),
        ("m.a\nb", r"no engine for '\.a' files"),
    ],
)
def test_files_of_other_kinds_are_refused_with_the_remedy(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=message):
        engines.load(tmp_path / name)


def test_a_device_that_is_none_is_named_with_those_that_are(toy_onnx: Toy) -> None:
    with pytest.raises(UserError, match=r"there is no device 'gpu' \(--device\); expected cpu or cuda"):
        engines.load(toy_onnx(), device="gpu")


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_one_of_several_gpus_is_a_device_of_pytorch(device: str) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=f"device '{device}' was asked for, but PyTorch sees no GPU"):
        engines.load(DEMO / "weights" / "refinemask-nuclei.safetensors", device=device)


def change(path: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    edit(model)
    onnx.save(model, path)
    return path


def node(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.output[0] == output)


def insert(model: onnx.ModelProto, output: str, *nodes: onnx.NodeProto) -> None:
    """Put nodes before the one that gives ``output``."""
    position = list(model.graph.node).index(node(model, output))
    for new in reversed(nodes):
        model.graph.node.insert(position, new)


def zero_divided(model: onnx.ModelProto) -> None:
    """Masks become 0 / 0."""
    insert(model, "cells", onnx.helper.make_node("Div", ["zeros", "zeros"], ["nan"]))
    node(model, "cells").input[0] = "nan"


def one_class_too_many(model: onnx.ModelProto) -> None:
    """Labels become one, of a model with one class."""
    node(model, "labels").input[0] = "ones"
    labels = onnx.NodeProto()
    labels.CopyFrom(node(model, "labels"))
    model.graph.node.remove(node(model, "labels"))
    model.graph.node.append(labels)


def impossible_shape(model: onnx.ModelProto) -> None:
    """The masks take a shape that depends on the images and does not fit them."""
    largest = onnx.helper.make_node("ReduceMax", ["num_detections"], ["largest"], keepdims=0)
    insert(model, "masks", largest, onnx.helper.make_node("Mul", ["mask_shape", "largest"], ["shape"]))
    node(model, "masks").input[1] = "shape"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (zero_divided, "its output masks has a value that is not finite"),
        (one_class_too_many, "its output labels has 1 .*expected 0 to 0"),
        (impossible_shape, "fails on these images: "),
    ],
)
def test_a_graph_that_fails_or_gives_no_detections_is_named_with_its_engine(
    toy_onnx: Toy, batch: Batch, backend: str, edit: Callable[[onnx.ModelProto], None], message: str
) -> None:
    name = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[backend]
    engine = engines.load(change(toy_onnx(), edit), backend=backend, threads=1)
    whole = rf"toy\.onnx: {name} in fp32 on cpu:? {message}"
    with pytest.raises(UserError, match=whole):
        engine.infer(*batch)
    with pytest.raises(UserError, match=whole):
        engine.detect(*batch, np.ones((2, 4), np.float32), [(64, 96), (50, 80)])


def test_a_run_that_failed_leaves_nothing_behind(toy_onnx: Toy, batch: Batch, backend: str) -> None:
    whole = engines.load(toy_onnx(), backend=backend, threads=1)
    expected = whole.infer(*batch)
    fails_on_two = engines.load(change(toy_onnx(), impossible_shape), backend=backend, threads=1)
    with pytest.raises(UserError, match="fails on these images"):
        fails_on_two.infer(*batch)
    three = np.zeros((3, 3, 64, 96), np.uint8), np.array([[64, 96]] * 3, np.int64)
    assert fails_on_two.infer(*three).boxes.shape == (3, 3, 4)
    with pytest.raises(UserError, match="fails on these images"):
        fails_on_two.infer(*batch)
    del fails_on_two
    for engine in (whole, engines.load(toy_onnx(), backend=backend, threads=1)):
        for before, after in zip(expected, engine.infer(*batch), strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_graph_with_other_outputs_is_no_export(toy_onnx: Toy, backend: str) -> None:
    def drop(model: onnx.ModelProto) -> None:
        del model.graph.output[4]

    with pytest.raises(
        UserError, match="not a RefineMask export: its outputs are boxes, labels, num_detections, scores;"
    ):
        engines.load(change(toy_onnx(), drop), backend=backend)


def test_engines_are_freed_and_others_run_on(toy_onnx: Toy, batch: Batch) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    kept = engines.load(toy_onnx(), threads=1)
    expected = kept.infer(*batch)
    for backend in ("onnxruntime", "openvino") * 5:
        engine = engines.load(toy_onnx(), backend=backend, threads=1)
        engine.infer(*batch)
        session = weakref.ref(engine)
        del engine
        assert session() is None, "nothing else may keep an engine"
        for before, after in zip(expected, kept.infer(*batch), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("bounds", "smallest"), [([1, 1, 4], 1), ([2, 2, 2], 2)])
def test_an_engine_tells_the_smallest_batch(toy_onnx: Toy, bounds: list[int], smallest: int) -> None:
    text = json.dumps({"batch": bounds, "height": [64, 64, 64], "width": [64, 64, 64]})
    assert engines.load(toy_onnx(bounds=text), threads=1).smallest_batch == smallest
