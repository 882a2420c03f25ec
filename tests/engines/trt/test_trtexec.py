"""The command line for trtexec, right for each major version, and what comes back from it."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import build
from engines.trt import plan
from engines.trt.plan import BuildOptions, BuildPlan, CustomNode
from engines.trt.sidecar import read_sidecar
from engines.trt.trtexec import build_with_trtexec, trtexec_command, trtexec_version
from refinemask.config import ModelConfig
from refinemask.contract import Bounds, Metadata
from refinemask.files import UserError
from trt_plugins import REPORT

BOUNDS = Bounds(batch=(1, 1, 8), height=(32, 800, 1344), width=(32, 1344, 1344))
PLAN = BuildPlan(
    onnx=Path("model.onnx"),
    onnx_sha256="0" * 64,
    metadata=Metadata(config=ModelConfig(class_names=("nucleus",), category_ids=(1,)), precision="fp16", bounds=BOUNDS),
    custom_nodes=(CustomNode("node", "FixedNMS"),),
    types={"compute": {"fp16": 1.0}, "layers": {"fp16": 1.0}, "tensors": {"fp16": 1.0}},
    options=BuildOptions(),
    flavour="tensorrt",
    plugins=Path("/opt/plugins.so"),
    bounds=BOUNDS,
)


def test_dynamic_file_on_tensorrt_10() -> None:
    assert trtexec_command(PLAN, Path("a.engine"), Path("a.json"), major=10) == [
        "trtexec",
        "--onnx=model.onnx",
        "--saveEngine=a.engine",
        "--skipInference",
        "--stronglyTyped",
        "--noTF32",
        "--dynamicPlugins=/opt/plugins.so",
        "--minShapes=images:1x3x32x32,image_sizes:1x2",
        "--optShapes=images:1x3x800x1344,image_sizes:1x2",
        "--maxShapes=images:8x3x1344x1344,image_sizes:8x2",
        "--profilingVerbosity=detailed",
        "--exportLayerInfo=a.json",
    ]


def test_static_file_on_tensorrt_11() -> None:
    bounds = Bounds(batch=(1, 1, 1), height=(800, 800, 800), width=(1344, 1344, 1344))
    options = BuildOptions(
        timing_cache=Path("cache"),
        workspace_mib=4096,
        version_compatible=True,
        hardware_compatible=True,
        optimization_level=4,
        tiling_level="full",
        auxiliary_streams=0,
        trtexec="/opt/trtexec",
    )
    static = replace(PLAN, bounds=bounds, plugins=None, options=options)
    command = trtexec_command(static, Path("a.engine"), Path("a.json"), major=11)
    assert command[0] == "/opt/trtexec"
    assert command[4:12] == [
        "--noTF32",
        "--timingCacheFile=cache",
        "--memPoolSize=workspace:4096M",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--builderOptimizationLevel=4",
        "--tilingOptimizationLevel=3",
        "--maxAuxStreams=0",
    ]
    assert not any("Typed" in option or "Shapes" in option or "Plugins" in option for option in command)


def test_a_library_whose_link_leads_to_itself_is_given_by_its_name(tmp_path: Path) -> None:
    library = tmp_path / "plugins.so"
    library.symlink_to(library)
    command = trtexec_command(replace(PLAN, plugins=library), Path("a.engine"), Path("a.json"), major=11)
    assert f"--dynamicPlugins={library}" in command


def test_tf32_only_where_it_was_asked_for() -> None:
    def command(file: str, asked: str | None = None) -> list[str]:
        metadata = replace(PLAN.metadata, precision=file)
        plan = replace(PLAN, metadata=metadata, options=BuildOptions(precision=asked))
        return trtexec_command(plan, Path("a.engine"), Path("a.json"), major=11)

    assert "--noTF32" in command("fp32")
    assert "--noTF32" in command("fp16")
    assert "--noTF32" not in command("fp32", "tf32")


def fake_trtexec(directory: Path, version: str, *, layers: list[dict] | None = None, error: str = "") -> str:
    """A shell script that prints a version and pretends to build."""
    script = directory / "trtexec"
    layer_file = directory / "fake.json"
    layer_file.write_text(json.dumps({"Layers": layers or []}))
    script.write_text(
        "#!/bin/sh\n"
        f"echo '&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec'\n"
        f"{f'echo {error!r}; exit 1' if error else ''}\n"
        'for option in "$@"; do case $option in\n'
        "  --saveEngine=*) echo built > ${option#*=};;\n"
        f"  --exportLayerInfo=*) cp {layer_file} ${{option#*=}};;\n"
        "esac; done\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return str(script)


@pytest.mark.parametrize(
    ("printed", "version"),
    [("100300", "10.3.0"), ("101300", "10.13.0"), ("101602", "10.16.2"), ("11.1.0.106", "11.1.0")],
)
def test_version(tmp_path: Path, printed: str, version: str) -> None:
    assert trtexec_version(fake_trtexec(tmp_path, printed)) == version


@pytest.mark.parametrize("printed", ["8601", "100200", "12.0.0.1"])
def test_unknown_version(tmp_path: Path, printed: str) -> None:
    with pytest.raises(UserError, match=r"not supported; expected 10\.3"):
        trtexec_version(fake_trtexec(tmp_path, printed))


def test_not_trtexec(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not trtexec"):
        trtexec_version("echo")
    with pytest.raises(UserError, match="cannot be run"):
        trtexec_version(str(tmp_path / "absent"))


def through(trtexec: str, **options: Any) -> BuildPlan:
    """The plan, built with that trtexec."""
    return replace(PLAN, options=BuildOptions(trtexec=trtexec, **options))


TENSOR = [{"Format/Datatype": "Half"}]
CONVOLUTION = {"LayerType": "conv", "Inputs": TENSOR, "Outputs": TENSOR}
PLUGIN = {"LayerType": "PluginV3", "Inputs": TENSOR, "Outputs": TENSOR}


def test_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trtexec = fake_trtexec(tmp_path, "101300", layers=[CONVOLUTION, PLUGIN])
    built = build_with_trtexec(through(trtexec), tmp_path / "a.engine")
    assert (tmp_path / "a.engine").read_text() == "built\n"
    assert (built.version, built.layers) == ("10.13.0", [CONVOLUTION, PLUGIN])
    assert built.inspected == {"compute": {"fp16": 1.0}, "layers": {"fp16": 1.0}, "tensors": {"fp16": 1.0}}
    captured = capfd.readouterr()
    assert "RUNNING" in captured.err
    assert not captured.out


def test_an_operator_that_fell_back_to_its_body(tmp_path: Path) -> None:
    trtexec = fake_trtexec(tmp_path, "101300", layers=[CONVOLUTION])
    with pytest.raises(UserError, match=r"model\.onnx: only 0 of 1 operators became plugin layers; see --plugins"):
        build_with_trtexec(through(trtexec), tmp_path / "a.engine")
    build_with_trtexec(through(trtexec, bodies=True), tmp_path / "a.engine")


def test_the_file_decides_and_the_inspector_is_only_reported(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fused = {"LayerType": "kgen", "Inputs": TENSOR, "Outputs": TENSOR}
    options = BuildOptions(bodies=True, trtexec=fake_trtexec(tmp_path, "101300", layers=[fused]))
    args = build.Args(model=toy_onnx(), output=tmp_path / "a.engine", build=options)
    assert build.main(args) == 0
    assert "compute: 100.0% fp32\n" in (printed := capsys.readouterr().out)
    assert "layers by TensorRT's inspector: 100.0% fp16\n" in printed
    sidecar = read_sidecar(args.output)
    assert sidecar.precision["compute"] == {"fp32": 1.0}
    assert sidecar.inspected == {"compute": {}, "layers": {"fp16": 1.0}, "tensors": {"fp16": 1.0}}
    args.output.unlink()
    assert build.main(replace(args, model=toy_onnx(precision="fp16"))) == 1
    assert "toy.onnx: fp16 was asked for, but only 0% of the compute layers are" in capsys.readouterr().err
    assert not args.output.exists()


def test_the_sidecar_says_how_hard_tensorrt_tried(toy_onnx: Callable[..., Path], tmp_path: Path) -> None:
    trtexec = fake_trtexec(tmp_path, "100800", layers=[CONVOLUTION])
    options = BuildOptions(bodies=True, trtexec=trtexec, optimization_level=0, tiling_level="fast", auxiliary_streams=0)
    args = build.Args(model=toy_onnx(), output=tmp_path / "a.engine", build=options)
    assert build.main(args) == 0
    sidecar = read_sidecar(args.output)
    assert (sidecar.optimization_level, sidecar.tiling_level, sidecar.auxiliary_streams) == (0, "fast", 0)
    assert "--optimization-level 0 --tiling-level fast --auxiliary-streams 0" in sidecar.command


def test_tiling_came_with_10_8(tmp_path: Path) -> None:
    trtexec = fake_trtexec(tmp_path, "100700", layers=[CONVOLUTION, PLUGIN])
    with pytest.raises(UserError, match=r"TensorRT 10\.7\.0 has no tiling levels.* leave out --tiling-level"):
        build_with_trtexec(through(trtexec, tiling_level="fast"), tmp_path / "a.engine")


def test_the_sidecar_of_trtexec_says_tensorrt(
    toy_onnx: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda name: name == "tensorrt_rtx")
    tensor = [{"Format/Datatype": "Float"}]
    trtexec = fake_trtexec(tmp_path, "101300", layers=[{"LayerType": "conv", "Inputs": tensor, "Outputs": tensor}])
    options = BuildOptions(bodies=True, trtexec=trtexec)
    args = build.Args(model=toy_onnx(), output=tmp_path / "a.engine", build=options)
    for wrong, option in (
        (replace(options, capabilities=("8.9",)), "--capabilities"),
        (replace(options, flavour="tensorrt_rtx"), "--flavour tensorrt_rtx"),
    ):
        assert build.main(replace(args, build=wrong)) == 2
        assert build.main(replace(args, build=replace(wrong, trtexec=None), print_trtexec=11)) == 2
        assert capsys.readouterr().err.count(f"toy.onnx: {option} is for TensorRT-RTX") == 2
    assert build.main(args) == 0
    assert read_sidecar(args.output).flavour == "tensorrt"


def test_a_library_that_is_not_what_was_built_is_refused_before_trtexec_loads_it(
    toy_onnx: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "plugins.so"
    library.write_bytes(b"another library")
    (tmp_path / REPORT).write_text(json.dumps({"library_sha256": {library.name: "0" * 64}}))
    options = BuildOptions(plugins=library, trtexec=str(tmp_path / "absent"))
    args = build.Args(model=toy_onnx(), output=tmp_path / "a.engine", build=options)
    assert build.main(args) == 2
    assert f"error: {library}: refused, its SHA-256 is" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "precision"), [(None, "fp32"), ("fp32", "fp32"), ("tf32", "tf32")])
def test_the_sidecar_says_whether_tf32_is_on(
    toy_onnx: Callable[..., Path], tmp_path: Path, asked: str | None, precision: str
) -> None:
    tensor = [{"Format/Datatype": "Float"}]
    trtexec = fake_trtexec(tmp_path, "101300", layers=[{"LayerType": "conv", "Inputs": tensor, "Outputs": tensor}])
    options = BuildOptions(bodies=True, trtexec=trtexec, precision=asked)
    args = build.Args(model=toy_onnx(), output=tmp_path / "a.engine", build=options)
    assert build.main(args) == 0
    sidecar = read_sidecar(args.output)
    assert (sidecar.tf32, sidecar.read_metadata(args.output).precision) == (precision == "tf32", precision)
    assert sidecar.precision["compute"] == {precision: 1.0}


def test_failure_gives_the_first_error(tmp_path: Path) -> None:
    trtexec = fake_trtexec(tmp_path, "101300", error="[11/23/2026] [E] Error[4]: out of memory")
    with pytest.raises(UserError, match="out of memory"):
        build_with_trtexec(through(trtexec), tmp_path / "a.engine")
