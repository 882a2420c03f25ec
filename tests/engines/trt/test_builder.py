"""Building through TensorRT's Python API, on a stand-in: which calls are made, and in which order."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.trt.builder import build_in_process
from engines.trt.plan import BuildOptions, Built, CustomNode, make_plan
from refinemask.files import UserError
from tests.support import fake_builder
from tests.support.fake_builder import FakeTensorRT

BODIES = BuildOptions(flavour="tensorrt", bodies=True)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    return fake_builder.install(monkeypatch)


@pytest.fixture
def build(toy_onnx: Callable[..., Path], tmp_path: Path) -> Callable[..., Built]:
    """Builds the toy file, as if it had these custom nodes."""

    def run(options: BuildOptions, *nodes: CustomNode) -> Built:
        plan = replace(make_plan(toy_onnx(), options), custom_nodes=nodes)
        built = build_in_process(plan, tmp_path / "toy.engine", lambda phase, share: None)
        assert (tmp_path / "toy.engine").read_bytes() == b"engine"
        assert built.precision["compute"] == {"fp32": 1.0}
        return built

    return run


@pytest.mark.parametrize(("precision", "on"), [(None, False), ("fp32", False), ("tf32", True)])
def test_tf32_is_on_where_it_was_asked_for(
    tensorrt: FakeTensorRT, build: Callable[..., Built], precision: str | None, on: bool
) -> None:
    build(replace(BODIES, precision=precision))
    assert ("TF32" in tensorrt.flags) == on


def test_a_version_compatible_engine_can_be_inspected(tensorrt: FakeTensorRT, build: Callable[..., Built]) -> None:
    build(replace(BODIES, version_compatible=True))
    assert "VERSION_COMPATIBLE" in tensorrt.flags


def test_an_engine_of_tensorrt_rtx_never_allocates_in_a_run(
    tensorrt: FakeTensorRT, build: Callable[..., Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT itself has no such flag, and its runs allocate nothing."""
    build(BODIES)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", sys.modules["tensorrt"])
    monkeypatch.setattr("tensorrt.BuilderFlag.REQUIRE_USER_ALLOCATION", "REQUIRE_USER_ALLOCATION", raising=False)
    build(replace(BODIES, flavour="tensorrt_rtx"))
    assert "REQUIRE_USER_ALLOCATION" in tensorrt.flags


def test_a_timing_cache_is_written_whole_and_its_folder_is_made(
    tensorrt: FakeTensorRT, build: Callable[..., Built], tmp_path: Path
) -> None:
    cache = tmp_path / "new" / "timing.cache"
    build(replace(BODIES, timing_cache=cache))
    assert [(path.name, path.read_bytes()) for path in cache.parent.iterdir()] == [("timing.cache", b"times")]


def test_a_library_that_has_changed_since_it_was_loaded_is_refused(
    tensorrt: FakeTensorRT, build: Callable[..., Built], tmp_path: Path
) -> None:
    """Its plugins are the old ones until the process ends, whatever the file's hash says."""
    library = tmp_path / "plugins.so"
    library.write_bytes(b"old")
    with_plugins = replace(BODIES, bodies=False, plugins=library)
    build(with_plugins)
    library.write_bytes(b"new")
    with pytest.raises(UserError, match=r"plugins\.so: has changed since this process loaded it; start the process"):
        build(with_plugins)


def test_plugins_are_loaded_where_a_logger_listens(
    tensorrt: FakeTensorRT, build: Callable[..., Built], tmp_path: Path
) -> None:
    library = tmp_path / "plugins.so"
    library.touch()
    build(replace(BODIES, bodies=False, plugins=library))
    assert tensorrt.calls == ["builder", "TensorRT's plugins", "library", "parser", "runtime"]
    tensorrt.calls.clear()
    build(BODIES)
    assert tensorrt.calls == ["builder", "TensorRT's plugins", "parser", "runtime"], "bodies contain RoIAlign"
    tensorrt.calls.clear()
    build(replace(BODIES, bodies=False, plugins=library))
    assert "library" not in tensorrt.calls, "the registry refuses names that it has"


def test_a_flavour_without_plugins_of_its_own_loads_the_library_alone(
    tensorrt: FakeTensorRT, build: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tensorrt.init_libnvinfer_plugins")
    library = tmp_path / "plugins.so"
    library.touch()
    build(replace(BODIES, bodies=False, plugins=library))
    assert tensorrt.calls == ["builder", "library", "parser", "runtime"]


def test_a_refusal_of_the_library_has_its_reason(
    tensorrt: FakeTensorRT, build: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "plugins.so"
    library.touch()
    options = replace(BODIES, bodies=False, plugins=library)
    monkeypatch.setattr(tensorrt, "refusal", "undefined symbol: getPluginCreators\nin line 7")
    with pytest.raises(UserError, match=r"plugins\.so: .* plugin library: undefined symbol: getPluginCreators; build"):
        build(options)
    monkeypatch.setattr(tensorrt, "refusal", None)
    build(options)


def test_the_network_decides_and_the_inspector_is_only_reported(
    tensorrt: FakeTensorRT, build: Callable[..., Built]
) -> None:
    assert build(BODIES).inspected == {"compute": {"fp32": 1.0}, "layers": {"fp32": 1.0}, "tensors": {"fp32": 1.0}}
    half = [{"Format/Datatype": "Half"}]
    tensorrt.inspected = [{"LayerType": "kgen", "Inputs": half, "Outputs": half}]
    built = build(BODIES)
    assert built.precision["compute"] == {"fp32": 1.0}
    assert built.inspected == {"compute": {}, "layers": {"fp16": 1.0}, "tensors": {"fp16": 1.0}}


def test_effort_is_tensorrt_s_own_unless_it_is_given(tensorrt: FakeTensorRT, build: Callable[..., Built]) -> None:
    names = ("builder_optimization_level", "tiling_optimization_level", "max_aux_streams")
    build(BODIES)
    assert not any(hasattr(tensorrt.config, name) for name in names)
    build(replace(BODIES, optimization_level=5, tiling_level="moderate", auxiliary_streams=0))
    assert [getattr(tensorrt.config, name) for name in names] == [5, 2, 0]


def test_tiling_came_with_10_8(
    tensorrt: FakeTensorRT, build: Callable[..., Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorrt.__version__", "10.7.0.23")
    build(replace(BODIES, optimization_level=0, auxiliary_streams=1))
    with pytest.raises(UserError, match=r"TensorRT 10\.7\.0\.23 has no tiling levels.* leave out --tiling-level"):
        build(replace(BODIES, tiling_level="none"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"optimization_level": 6}, r"toy\.onnx: --optimization-level 6: expected 0 to 5"),
        ({"tiling_level": "most"}, r"toy\.onnx: --tiling-level most: expected none, fast, moderate, full"),
        ({"auxiliary_streams": -1}, r"toy\.onnx: --auxiliary-streams -1: expected 0 or more"),
    ],
)
def test_effort_that_there_is_not(build: Callable[..., Built], options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        build(replace(BODIES, **options))


def test_tensorrt_10_3_needs_a_file_without_bodies(
    tensorrt: FakeTensorRT, build: Callable[..., Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JetPack 6 has it. Its parser takes the body of a function although the plugin is loaded."""
    monkeypatch.setattr("tensorrt.__version__", "10.3.0.30")
    library, node = tmp_path / "plugins.so", CustomNode("nms", "FixedNMS")
    library.touch()
    with_plugins = replace(BODIES, bodies=False, plugins=library)
    tensorrt.plugins = ("nms",)
    assert build(with_plugins, node).version == "10.3.0"
    tensorrt.plugins = ()
    with pytest.raises(
        UserError, match=r"1 FixedNMS did not become plugin layers.* export without bodies \(--no-bodies\)"
    ):
        build(with_plugins, node)
