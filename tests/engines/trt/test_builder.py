"""Building through TensorRT's Python API, on a stand-in: which calls are made, and in which order."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.trt.builder import build_in_process
from engines.trt.plan import BuildOptions, make_plan
from refinemask.files import UserError
from tests.support import fake_builder
from tests.support.fake_builder import FakeTensorRT

BODIES = BuildOptions(flavour="tensorrt", bodies=True)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    return fake_builder.install(monkeypatch)


@pytest.fixture
def build(toy_onnx: Callable[..., Path], tmp_path: Path) -> Callable[[BuildOptions], None]:
    """Builds the toy file, whose operator counts as a plugin layer where there are no bodies."""

    def run(options: BuildOptions) -> None:
        plan = replace(make_plan(toy_onnx(), options), custom_nodes=())
        built = build_in_process(plan, tmp_path / "toy.engine", lambda phase, share: None)
        assert (tmp_path / "toy.engine").read_bytes() == b"engine"
        assert built.precision["compute"] == {"fp32": 1.0}

    return run


@pytest.mark.parametrize(("precision", "on"), [(None, False), ("fp32", False), ("tf32", True)])
def test_tf32_is_on_where_it_was_asked_for(
    tensorrt: FakeTensorRT, build: Callable[[BuildOptions], None], precision: str | None, on: bool
) -> None:
    build(replace(BODIES, precision=precision))
    assert ("TF32" in tensorrt.flags) == on


def test_a_version_compatible_engine_can_be_inspected(
    tensorrt: FakeTensorRT, build: Callable[[BuildOptions], None]
) -> None:
    build(replace(BODIES, version_compatible=True))
    assert "VERSION_COMPATIBLE" in tensorrt.flags


def test_plugins_are_loaded_where_a_logger_listens(
    tensorrt: FakeTensorRT, build: Callable[[BuildOptions], None], tmp_path: Path
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
    tensorrt: FakeTensorRT, build: Callable[[BuildOptions], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tensorrt.init_libnvinfer_plugins")
    library = tmp_path / "plugins.so"
    library.touch()
    build(replace(BODIES, bodies=False, plugins=library))
    assert tensorrt.calls == ["builder", "library", "parser", "runtime"]


def test_a_refusal_of_the_library_has_its_reason(
    tensorrt: FakeTensorRT, build: Callable[[BuildOptions], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "plugins.so"
    library.touch()
    options = replace(BODIES, bodies=False, plugins=library)
    monkeypatch.setattr(tensorrt, "refusal", "undefined symbol: getPluginCreators\nin line 7")
    with pytest.raises(UserError, match=r"plugins\.so: .* plugin library: undefined symbol: getPluginCreators; build"):
        build(options)
    monkeypatch.setattr(tensorrt, "refusal", None)
    build(options)
