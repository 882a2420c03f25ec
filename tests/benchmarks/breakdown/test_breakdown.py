"""Every operator's time ends up in the part that it belongs to."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import onnxruntime
import pytest

from benchmarks.breakdown import __main__ as breakdown
from benchmarks.breakdown import operator_times
from benchmarks.breakdown.operator_times import (
    MARK,
    as_onnxruntime_gets_it,
    as_openvino_gets_it,
    mark,
    time_operators,
)
from benchmarks.breakdown.parts import PARTS, part_of
from benchmarks.breakdown.report import Settings
from benchmarks.harness.random_detector import randomize
from benchmarks.harness.spec import EngineSpec
from engines.openvino import engine as openvino_engine
from engines.openvino.network import compile_network
from engines.quantised.saturation import kernels_saturate
from export.model import to_onnx
from refinemask.config_json import to_json
from refinemask.contract import Bounds
from refinemask.modeling.detector import Detector
from refinemask.weights import save_detector
from tests.support.quantised_file import write_int8
from tests.support.tiny_detector import TINY
from tests.support.tolerances import assert_near
from tests.support.toy_onnx import write_toy_onnx

HEIGHT, WIDTH = 64, 96


@pytest.mark.parametrize(
    ("module", "operator", "part"),
    [
        ("", "Where", "normalisation"),
        ("backbone.layer1.0.conv1", "Conv", "backbone"),
        ("rpn.cls_logits", "convolution", "RPN head"),
        ("rpn.bbox_deltas", "FixedNMS", "proposals"),
        ("box_head.fc1", "multilevel_roi_align", "box RoIAlign"),
        ("box_head.fc2", "addmm", "box head"),
        ("box_head.bbox_deltas", "TopK", "detections"),
        ("mask_head.instance_convs.0", "MultilevelRoIAlign4", "mask RoIAlign"),
        ("mask_head.instance_convs.2", "Relu", "instance convs"),
        ("mask_head.stages.0.semantic_transform_in", "convolution", "semantic branch"),
        ("mask_head.instance_logits.0", "bmm", "instance convs"),
        ("mask_head.instance_logits.2", "bmm", "stage 2 other"),
        ("mask_head.stages.1.fusion.dilated_convs.2", "Conv", "stage 2 dilated"),
        ("mask_head.stages.2.fusion.merge", "Conv", "stage 3 other"),
        ("mask_head.instance_logits.3", "boundary_merge", "boundary merge"),
        ("mask_head.upsample", "ConvTranspose", "mask head"),
        ("context.convs.0", "Conv", "context"),
    ],
)
def test_parts(module: str, operator: str, part: str) -> None:
    assert part_of(module, operator) == part
    assert part in PARTS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint whose detections are as many as they can be, and its export."""
    directory = tmp_path_factory.mktemp("breakdown")
    config = replace(TINY, box_head=replace(TINY.box_head, score_threshold=0.0, nms_iou=1.0))
    detector = randomize(Detector(config), seed=0)
    checkpoint, exported = directory / "tiny.safetensors", directory / "tiny.onnx"
    save_detector(detector, checkpoint, recipe="tiny")
    model = to_onnx(detector, Bounds(batch=(1, 1, 1), height=(HEIGHT,) * 3, width=(WIDTH,) * 3))
    model.metadata_props["config"] = to_json(config)
    ir.save(model, exported)
    return checkpoint, exported


def test_marks(files: tuple[Path, Path]) -> None:
    """What a function's body is inlined to belongs to the part of its call."""
    marked = mark(files[1])
    onnx.checker.check_model(marked.model, full_check=True)
    nodes = marked.model.graph.node
    marks = [MARK.fullmatch(node.name) for node in nodes]
    assert [int(found[1]) for found in marks if found] == list(range(len(nodes))) == [*range(len(marked.parts))]
    parts = {
        kind: {p for node, p in zip(nodes, marked.parts, strict=True) if node.op_type == kind}
        for kind in ("RoiAlign", "NonMaxSuppression", "AveragePool", "Conv")
    }
    assert parts["RoiAlign"] == {"box RoIAlign", "mask RoIAlign"}
    assert parts["NonMaxSuppression"] == {"proposals", "detections"}
    assert parts["AveragePool"] == {"boundary merge"}
    assert not parts["Conv"] & {"proposals", "detections", "mask RoIAlign", "box head"}
    assert marked.add_up(["<00001>_fused<00002>", "ReorderOutput"], [1, 2]) == {"normalisation": 3}


def test_every_engine(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    checkpoint, exported = map(str, files)
    output = tmp_path / "breakdown.json"
    args = breakdown.Args(
        engines=(checkpoint, exported, f"{exported}@openvino:fp32"),
        settings=Settings(canvas=(HEIGHT, WIDTH), threads=1, rounds=2),
        output=output,
    )
    assert breakdown.main(args) == 0
    assert "semantic branch" in capsys.readouterr().out
    report = json.loads(output.read_text())
    parts = [part for part in PARTS if part not in ("context", "mask head")]
    for engine in report["engines"]:
        assert set(engine["parts"]) == set(parts)
        assert_near(sum(part["share"] for part in engine["parts"].values()), 1, "shares of a breakdown")
        assert engine["all"]["ms"] > 0
    eager, *graphs = report["engines"]
    for graph in graphs:
        for part in parts:
            assert_near(graph["parts"][part]["gflop"], eager["parts"][part]["gflop"], "gflop of a breakdown")


def models_given(backend: str, monkeypatch: pytest.MonkeyPatch) -> list[onnx.ModelProto]:
    """The models that a runtime will have been given, in order."""
    given: list[onnx.ModelProto] = []
    if backend == "openvino":
        for module in (openvino_engine, operator_times):

            def compiled(model: onnx.ModelProto, *args: Any, **options: Any) -> Any:
                given.append(model)
                return compile_network(model, *args, **options)

            monkeypatch.setattr(module, "compile_network", compiled)
        return given

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model: bytes, *rest: Any, **options: Any) -> None:
            given.append(onnx.load_from_string(model))
            super().__init__(model, *rest, **options)

    kernels_saturate()
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return given


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_quantised_file_is_timed_as_its_engine_writes_it(
    backend: str, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(backend, reason=f"needs the extra '{backend}'")
    given = models_given(backend, monkeypatch)
    path = write_int8(files[1], tmp_path / "quantised.onnx")
    inputs = {"images": np.zeros((1, 3, HEIGHT, WIDTH), np.uint8), "image_sizes": np.array([[HEIGHT, WIDTH]])}
    times = time_operators(EngineSpec(path, backend), inputs, threads=1, warmup=0, rounds=1)
    assert times.precision == "int8"
    assert times.seconds[0]["backbone"] > 0
    by_engine, timed = (
        Counter(node.op_type for node in onnx.inliner.inline_local_functions(model).graph.node) for model in given
    )
    assert timed == by_engine


@pytest.mark.parametrize(
    ("write", "operator", "parts"),
    [
        (as_openvino_gets_it, "Clip", {"backbone", "semantic branch"}),
        (as_onnxruntime_gets_it, "QLinearConv", {"backbone", "stage 3 other"}),
    ],
)
def test_what_an_engine_writes_counts_where_the_file_has_it(
    write: Callable[[onnx.ModelProto, Path], onnx.ModelProto],
    operator: str,
    parts: set[str],
    files: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    marked = mark(write_int8(files[1], tmp_path / "quantised.onnx"), write)
    nodes = marked.model.graph.node
    written = Counter(part for node, part in zip(nodes, marked.parts, strict=True) if node.op_type == operator)
    assert parts <= set(written)
    assert "normalisation" not in written
    dense = {"Conv", "QLinearConv", "MatMulIntegerToFloat"}
    wrong = {p for node, p in zip(nodes, marked.parts, strict=True) if node.op_type in dense}
    assert not wrong & {"proposals", "detections", "mask RoIAlign", "boundary merge"}


def with_precision(exported: Path, precision: str) -> Path:
    """A copy of the export that says to be of another precision."""
    model = ir.load(exported)
    model.metadata_props["precision"] = precision
    path = exported.with_name(f"{precision}.onnx")
    ir.save(model, path)
    return path


def test_runs_a_quantised_file_as_its_engine_does(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[onnxruntime.SessionOptions] = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model: object, options: onnxruntime.SessionOptions | None = None, **rest: object) -> None:
            # The engine's trial of this CPU's kernels has none.
            opened.extend([options] if options else [])
            super().__init__(model, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    inputs = {
        "images": np.zeros((1, 3, HEIGHT, WIDTH), np.uint8),
        "image_sizes": np.array([[HEIGHT, WIDTH]]),
    }
    times = time_operators(EngineSpec(with_precision(files[1], "int8")), inputs, threads=1, warmup=0, rounds=1)
    assert (times.name, times.precision) == ("ONNX Runtime", "int8")
    assert {options.get_session_config_entry("session.disable_quant_qdq") for options in opened} == {"1"}


@pytest.mark.parametrize(
    ("engine", "message", "settings"),
    [
        ("a.engine", "expected a .safetensors or an .onnx file", {}),
        ("a.onnx", "no such file", {}),
        ("foreign.onnx", "not a RefineMask export", {}),
        ("tiny.onnx@openvno", "backend 'openvno' cannot run it; expected onnxruntime or openvino", {}),
        ("tiny.safetensors@openvino", "backend 'openvino' cannot run it; expected pytorch", {}),
        ("tiny.onnx@onnxruntime:fp16", "its precision is fp32", {}),
        ("tiny.onnx@openvino:fp16", "OpenVINO runs a file of fp32 in fp32 or bf16, not in fp16", {}),
        ("int8.onnx@openvino", "says that it is int8, and has no quantised layer", {}),
        ("tiny.onnx", "tiny.onnx: images have height 128, but this file was exported for", {"canvas": (128, 128)}),
        ("tiny.safetensors", "--size is 100x96; expected multiples of 32", {"canvas": (100, 96)}),
        ("tiny.onnx", "--size is 0x96; expected multiples of 32", {"canvas": (0, 96)}),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    engine: str,
    message: str,
    settings: dict[str, Any],
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_precision(files[1], "int8")
    write_toy_onnx(files[1].with_name("foreign.onnx"), config=None)
    wanted = Settings(**{"canvas": (HEIGHT, WIDTH), "threads": 1, **settings})
    assert breakdown.main(breakdown.Args(engines=(str(files[1].with_name(engine)),), settings=wanted)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.onnx", "--rounds", "0"], "--rounds is 0; expected at least 1"),
        (["a.onnx", "--warmup", "-1"], "--warmup is -1; expected at least 0"),
        ([], "nothing to break down; expected one engine at least"),
    ],
)
def test_wrong_settings_are_one_line_and_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["breakdown", *arguments])
    assert breakdown.main() == 2
    assert capsys.readouterr().err == f"error: {message}\n"
