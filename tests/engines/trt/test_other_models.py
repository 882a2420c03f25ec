"""The other families build with the plugins as RefineMask does."""

import json
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import nn

from benchmarks.harness.random_detector import randomize
from engines import build
from engines.trt.plan import BuildOptions, make_plan
from engines.trt.sidecar import read_sidecar
from export import to_onnx
from export.model import trace
from refinemask.config import FCNMaskConfig, HTCConfig, MaskHeadConfig, PointRendConfig
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import Precision
from refinemask.modeling.fcn_mask_head import Upsampling
from refinemask.ops.fused import fused_operators
from refinemask.weights import save_detector
from tests.support.rtx_build import run_with_library_path
from tests.support.tiny_detector import TINY
from trt_plugins import LIBRARY_DIR

CASES: list[tuple[MaskHeadConfig, Precision, int]] = [
    (PointRendConfig(hidden=32), "fp32", 7),
    (HTCConfig(convs=1), "fp32", 16),
    (FCNMaskConfig(convs=1), "bf16", 8),
]


needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs the package tensorrt-rtx")


@needs_rtx
@pytest.mark.tensorrt
def test_bfloat16_upsampling_builds_as_the_file_has_it(tmp_path: Path) -> None:
    """And not as a transposed convolution: the rule of export.check holds."""
    upsample, features = Upsampling(8).bfloat16().requires_grad_(False), torch.zeros(3, 8, 14, 14, dtype=torch.bfloat16)
    for name, context in (("fused", fused_operators()), ("plain", nullcontext())):
        with context:
            model = trace(nn.Sequential(upsample), (features,), opset=22, inputs=["x"], outputs=["y"])
        ir.save(model, tmp_path / f"{name}.onnx")
    files = [str(tmp_path / f"{name}.onnx") for name in ("fused", "plain")]
    result = run_with_library_path(["none", *files, "--targets", "SM89"])
    assert result.returncode == 0, result.stderr
    fused, plain = (json.loads(line) for line in result.stdout.splitlines())
    assert "DECONVOLUTION" not in fused["layers"]
    assert fused["engines"]["SM89"] is not None
    assert "DECONVOLUTION" in plain["layers"]
    assert plain["engines"]["SM89"] is None


@needs_rtx
@pytest.mark.skipif(
    not (LIBRARY_DIR / "librefinemask_plugins.so").is_file(), reason="needs python -m trt_plugins.build"
)
@pytest.mark.tensorrt
@pytest.mark.slow
@pytest.mark.parametrize(("head", "precision", "plugins"), CASES, ids=["pointrend", "htc", "mask-rcnn-bf16"])
def test_builds_ahead_of_time_with_all_plugins(
    tmp_path: Path, head: MaskHeadConfig, precision: Precision, plugins: int
) -> None:
    checkpoint, source, engine = (tmp_path / f"tiny.{suffix}" for suffix in ("safetensors", "onnx", "engine"))
    save_detector(randomize(Detector(replace(TINY, mask_head=head)), 0), checkpoint, recipe="tiny")
    assert to_onnx.main(to_onnx.Args(checkpoint, source, precision=precision, static=(64, 96), batch=(1,))) == 0
    options = BuildOptions(flavour="tensorrt_rtx", capabilities=("8.9",))
    assert len(make_plan(source, options).custom_nodes) == plugins
    assert build.main(build.Args(model=source, output=engine, build=options)) == 0
    assert read_sidecar(engine).precision["compute"] == {precision: 1.0}
