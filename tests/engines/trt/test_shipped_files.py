"""The files that ship, and what TensorRT's parser and builder make of them: with TensorRT-RTX, ahead of time, on a CPU.

Through the plugin library where it is built, else through the Python plugins of the same names. Every engine is for
compute capabilities 8.9 and 12.0.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from onnx_ir import DataType

from benchmarks.harness.random_detector import random_detector
from engines.trt.child import child_environment
from engines.trt.plan import BuildOptions, BuildPlan, make_plan
from engines.trt.precision import require_met
from export.calibration.ranges import read_calibration
from export.model import to_onnx
from export.qdq import insert_qdq, kept_layers, layers
from refinemask.config import RefineMaskConfig
from refinemask.contract import Bounds
from refinemask.modeling.exported import Precision
from refinemask.weights import load_detector
from trt_plugins import LIBRARY_DIR, PLUGIN_LIBRARY

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx: pip install -e '.[rtx]'"),
]
HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parents[2] / "demo" / "weights"
LIBRARY = LIBRARY_DIR / PLUGIN_LIBRARY
PLUGINS = {
    "SelectProposals": 1,
    "FixedNMS": 2,
    "TopScores": 2,
    "MultilevelRoIAlign4": 2,
    "MultilevelRoIAlign1": 6,
    "UpsampledLabelLogits": 3,
    "LabelLogits": 1,
    "BoundaryMerge": 2,
}
"""Custom nodes of a file, each of which becomes a plugin layer. Proposals and detections are chosen and suppressed.
Boxes and masks pool four levels. Each of three stages pools one level twice and predicts, and so does the first mask.
"""
NARROWEST = 16
"""Channels of a layer that is worth quantising."""
DYNAMIC = {
    "demo": Bounds(batch=(1, 1, 4), height=(32, 384, 384), width=(32, 384, 384)),
    "r50": Bounds(batch=(1, 1, 2), height=(32, 800, 1344), width=(32, 1344, 1344)),
}


@dataclass(frozen=True)
class Case:
    model: str
    """``demo``, or ``r50`` with 80 classes and random weights."""
    precision: str
    static: bool
    base: Precision = "fp32"
    """Precision of what a quantised file leaves as it is."""

    def __str__(self) -> str:
        base = f"-of-{self.base}" if self.precision in ("int8", "fp8") else ""
        return f"{self.model}-{self.precision}{base}-{'static' if self.static else 'dynamic'}"

    def bounds(self) -> Bounds:
        dynamic = DYNAMIC[self.model]
        if not self.static:
            return dynamic
        return Bounds(batch=(1, 1, 1), height=(dynamic.height[1],) * 3, width=(dynamic.width[1],) * 3)


# Every pair of model, precision and kind of shape, from four exports: it is they that take the time.
CASES = [
    Case("demo", "fp32", static=False),
    Case("demo", "int8", static=False),
    Case("demo", "fp16", static=True, base="fp16"),
    Case("r50", "fp16", static=False, base="fp16"),
    Case("r50", "fp32", static=True),
    Case("r50", "int8", static=True),
]
PRECISIONS: tuple[tuple[str, Precision], ...] = (
    ("fp32", "fp32"),
    ("int8", "fp32"),
    ("fp8", "fp32"),
    ("fp16", "fp16"),
    ("int8", "fp16"),
    ("fp8", "fp16"),
    ("bf16", "bf16"),
)
SLOW = [
    Case(model, precision, static, base)
    for model in ("demo", "r50")
    for static in (False, True)
    for precision, base in PRECISIONS
    if Case(model, precision, static, base) not in CASES
]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Writes the file of a case, as the exporter and the quantiser do but without running it."""
    directory = tmp_path_factory.mktemp("shipped")
    detectors = {
        "demo": lru_cache(lambda: load_detector(WEIGHTS / "refinemask-nuclei.safetensors")),
        "r50": lru_cache(lambda: random_detector(RefineMaskConfig())),
    }

    @lru_cache
    def exported(model: str, base: Precision, bounds: Bounds) -> Path:
        path = directory / f"{model}-{base}-{bounds.batch[2]}.onnx"
        ir.save(to_onnx(detectors[model](), bounds, precision=base), path)
        return path

    def write(case: Case) -> Path:
        source, path = exported(case.model, case.base, case.bounds()), directory / f"{case}.onnx"
        if case.precision == case.base:
            return source
        model = ir.load(source)
        insert_qdq(model.graph, ranges(case.model, model.graph), case.precision)  # type: ignore[arg-type]
        ir.save(model, path)
        return path

    return write


def ranges(model: str, graph: ir.Graph) -> dict[str, float]:
    """The demo's own calibration; for random weights, where any will do, the same layers of any width."""
    if model == "demo":
        recorded = read_calibration(WEIGHTS / "refinemask-nuclei.ranges.json").ranges
        assert recorded.keys() <= layers(graph).keys()
        return recorded
    kept = kept_layers(graph)
    wide = {name: node for name, node in layers(graph).items() if min(node.inputs[1].shape[:2]) >= NARROWEST}  # type: ignore[union-attr, index]
    return {name: 6.0 for name in wide if name not in kept}


def build(*plans: BuildPlan) -> list[dict[str, Any]]:
    """Build in one process of its own."""
    with child_environment("tensorrt_rtx") as environment:
        done = subprocess.run(
            [sys.executable, HERE / "ahead_of_time.py"],
            input="\n".join(plan.to_json() for plan in plans),
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def plan(path: Path) -> BuildPlan:
    """A plan that requires every custom node to become a plugin layer, of whatever library."""
    options = BuildOptions(flavour="tensorrt_rtx", capabilities=("8.9", "12.0"))
    return replace(make_plan(path, options), plugins=LIBRARY if LIBRARY.is_file() else None)


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)], ids=str)
def test_builds_with_all_plugins_in_its_precision(case: Case, shipped: Callable[[Case], Path]) -> None:
    path = shipped(case)
    whole = plan(path)
    assert whole.bounds == case.bounds()
    assert Counter(node.operator for node in whole.custom_nodes) == PLUGINS
    (built,) = build(whole)
    assert "error" not in built, built
    require_met(built["precision"], case.precision, path)
    assert built["precision"]["compute"] == pytest.approx(whole.types["compute"]), "the file says what the network does"
    assert built["bytes"] > 2**20


def test_effort_can_be_chosen(toy_onnx: Callable[..., Path]) -> None:
    """Also in TensorRT-RTX, which has the three settings by the names that TensorRT gives them."""
    effort = BuildOptions(optimization_level=1, tiling_level="fast", auxiliary_streams=0)
    options = replace(effort, flavour="tensorrt_rtx", capabilities=("8.9",), bodies=True)
    (built,) = build(make_plan(toy_onnx(), options))
    assert "error" not in built, built
    assert built["precision"]["compute"] == {"fp32": 1.0}


def test_half_precision_rois_a_damaged_file_a_missing_library_and_an_unknown_operator_fail(
    shipped: Callable[[Case], Path], toy_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    case = Case("demo", "fp16", static=True, base="fp16")
    good, narrow, damaged = shipped(case), tmp_path / "narrow.onnx", tmp_path / "damaged.onnx"
    model = ir.load(good)
    pooling = next(node for node in model.graph if node.op_type == "MultilevelRoIAlign4")
    cast = ir.node("Cast", [pooling.inputs[-1]], {"to": DataType.FLOAT16}, name="to_half")
    model.graph.insert_before(pooling, cast)
    pooling.replace_input_with(len(pooling.inputs) - 1, cast.outputs[0])
    ir.save(model, narrow)
    damaged.write_bytes(good.read_bytes()[:-1000])
    whole = plan(good)
    plans = [replace(whole, onnx=narrow), replace(whole, onnx=damaged), replace(whole, plugins=tmp_path / "absent.so")]
    # The toy's operator has a body, but there is no plugin of its name.
    plans.append(plan(toy_onnx()))
    errors = [built["error"] for built in build(*plans)]
    assert f"{narrow}: TensorRT" in errors[0]
    assert "MultilevelRoIAlign4" in errors[0]
    if whole.plugins is not None:
        # Python plugins have no way to TensorRT's logger.
        assert "MultilevelRoIAlign4: rois are float16; expected float32" in errors[0]
    assert f"{damaged}: TensorRT" in errors[1]
    assert "cannot parse it" in errors[1]
    assert "absent.so: no such plugin library; build it with" in errors[2]
    assert "toy.onnx: 1 Squash did not become plugin layers; TensorRT" in errors[3]
