"""PointRend and HTC build with the plugins as RefineMask does."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.harness.random_detector import randomize
from engines import build
from engines.trt.plan import BuildOptions, make_plan
from engines.trt.sidecar import read_sidecar
from export import to_onnx
from refinemask.config import HTCConfig, MaskHeadConfig, PointRendConfig
from refinemask.modeling.detector import Detector
from refinemask.weights import save_detector
from tests.support.tiny_detector import TINY
from trt_plugins import LIBRARY_DIR

CASES = [(PointRendConfig(hidden=32), 4), (HTCConfig(convs=1), 10)]


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs the package tensorrt-rtx")
@pytest.mark.skipif(
    not (LIBRARY_DIR / "librefinemask_plugins.so").is_file(), reason="needs python -m trt_plugins.build"
)
@pytest.mark.tensorrt
@pytest.mark.slow
@pytest.mark.parametrize(("head", "plugins"), CASES, ids=["pointrend", "htc"])
def test_builds_ahead_of_time_with_all_plugins(tmp_path: Path, head: MaskHeadConfig, plugins: int) -> None:
    checkpoint, source, engine = (tmp_path / f"tiny.{suffix}" for suffix in ("safetensors", "onnx", "engine"))
    save_detector(randomize(Detector(replace(TINY, mask_head=head)), 0), checkpoint, recipe="tiny")
    assert to_onnx.main(to_onnx.Args(checkpoint, source, static=(64, 96), batch=(1,))) == 0
    options = BuildOptions(flavour="tensorrt_rtx", capabilities=("8.9",))
    assert len(make_plan(source, options).custom_nodes) == plugins
    assert build.main(build.Args(model=source, output=engine, build=options)) == 0
    assert read_sidecar(engine).precision["compute"] == {"fp32": 1.0}
