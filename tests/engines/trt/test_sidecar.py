"""An engine is loaded only if it is the file its sidecar describes, on a machine it was built for."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.trt.corners import Agreement, Corner
from engines.trt.sidecar import Sidecar, check_sidecar, read_sidecar, say_if_unchecked, sidecar_path, write_sidecar
from refinemask.files import UserError, sha256


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "model.engine"
    path.write_bytes(b"native code")
    return path


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    path = tmp_path / "plugins.so"
    path.write_bytes(b"plugins")
    return path


@pytest.fixture
def sidecar(engine: Path, plugins: Path, metadata: dict[str, str]) -> Sidecar:
    return Sidecar(
        engine_sha256=sha256(engine),
        onnx="model.onnx",
        onnx_sha256="0" * 64,
        plugins=plugins.name,
        plugins_sha256=sha256(plugins),
        flavour="tensorrt",
        version="10.13.0",
        cuda="13.0",
        driver="580.65",
        gpu="NVIDIA L4",
        capabilities=("8.9",),
        metadata=metadata,
        tf32=False,
        precision={"compute": {"fp16": 1.0}, "layers": {}, "tensors": {}},
        command=shlex.join(["python", "-m", "engines.build", "model.onnx", "-o", "model.engine"]),
    )


def check(sidecar: Sidecar, engine: Path, plugins: Path | None, **here: Any) -> None:
    machine = {"flavour": "tensorrt", "version": "10.13.0", "capability": "8.9"} | here
    check_sidecar(sidecar, engine, engine.read_bytes(), plugins=plugins, **machine)


def test_round_trip(sidecar: Sidecar, engine: Path) -> None:
    write_sidecar(sidecar, engine)
    assert sidecar_path(engine).name == "model.engine.json"
    assert read_sidecar(engine) == sidecar
    assert read_sidecar(engine).read_metadata(engine).config.class_names == ("nucleus",)


def test_a_sidecar_has_what_a_check_found(sidecar: Sidecar, engine: Path) -> None:
    agreement = Agreement(detections=9, agreeing=8, box=0.25, score=0.001, mask=0.99)
    corner = Corner(shape=(2, 64, 96), found=9, onnxruntime=agreement, rows=None)
    write_sidecar(replace(sidecar, corners=(corner,), unchecked="why"), engine)
    assert read_sidecar(engine).corners == (corner,)


def test_a_sidecar_from_before_checks(sidecar: Sidecar, engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sidecar(sidecar, engine)
    content = json.loads(sidecar_path(engine).read_text())
    assert (content.pop("corners"), content.pop("unchecked")) == ([], None)
    sidecar_path(engine).write_text(json.dumps(content))
    assert read_sidecar(engine) == sidecar
    say_if_unchecked(engine)
    assert capsys.readouterr().err == (
        f"remark: {engine}: no check has passed (its sidecar is from before checks); "
        f"check it: python -m engines.check {engine}\n"
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_sidecar_from_before_tf32_had_a_name(sidecar: Sidecar, engine: Path, precision: str) -> None:
    """TensorRT's default was on then."""
    shares = {"compute": {precision: 1.0}, "layers": {precision: 1.0}, "tensors": {}}
    write_sidecar(replace(sidecar, metadata={**sidecar.metadata, "precision": precision}, precision=shares), engine)
    content = json.loads(sidecar_path(engine).read_text())
    assert content.pop("tf32") is False
    sidecar_path(engine).write_text(json.dumps(content))
    read = read_sidecar(engine)
    true = {"fp32": "tf32"}.get(precision, precision)
    assert (read.tf32, read.read_metadata(engine).precision) == (True, true)
    assert read.precision == {**shares, "compute": {true: 1.0}}


def test_a_sidecar_of_0_5_0(sidecar: Sidecar, engine: Path) -> None:
    write_sidecar(sidecar, engine)
    content = json.loads(sidecar_path(engine).read_text())
    for newer in ("inspected", "optimization_level", "tiling_level", "auxiliary_streams"):
        del content[newer]
    sidecar_path(engine).write_text(json.dumps(content))
    assert read_sidecar(engine) == sidecar


def test_fits(sidecar: Sidecar, engine: Path, plugins: Path) -> None:
    check(sidecar, engine, plugins)


@pytest.mark.parametrize(
    ("here", "difference"),
    [
        ({"version": "10.14.0"}, "TensorRT is 10.14.0, the engine's is 10.13.0"),
        ({"capability": "9.0"}, "compute capability is 9.0, the engine's is 8.9"),
        ({"flavour": "tensorrt_rtx"}, "flavour is tensorrt_rtx, the engine's is tensorrt"),
    ],
)
def test_another_machine(sidecar: Sidecar, engine: Path, plugins: Path, here: dict[str, str], difference: str) -> None:
    with pytest.raises(UserError) as error:
        check(sidecar, engine, plugins, **here)
    assert difference in str(error.value)
    assert str(error.value).endswith("build it again: python -m engines.build model.onnx -o model.engine")


def test_all_differences_are_named(sidecar: Sidecar, engine: Path, plugins: Path) -> None:
    engine.write_bytes(b"other code")
    plugins.write_bytes(b"other plugins")
    with pytest.raises(UserError, match=r"its SHA-256 is .*; the plugin library's SHA-256 is "):
        check(sidecar, engine, plugins)
    with pytest.raises(UserError, match="unknown, there is no library"):
        check(sidecar, engine, None)


@pytest.mark.parametrize(
    ("compatible", "here", "fits"),
    [
        ({"newer_versions": True}, {"version": "10.14.1"}, True),
        ({"newer_versions": True}, {"version": "10.9.0"}, False),
        ({"newer_versions": True}, {"version": "11.0.0"}, False),
        ({"newer_capabilities": True}, {"capability": "12.0"}, True),
        ({"newer_capabilities": True}, {"capability": "8.6"}, False),
        ({"newer_versions": True}, {"capability": "12.0"}, False),
    ],
)
def test_compatible_engines(
    sidecar: Sidecar, engine: Path, plugins: Path, compatible: dict[str, Any], here: dict[str, str], fits: bool
) -> None:
    if fits:
        check(replace(sidecar, **compatible), engine, plugins, **here)
    else:
        with pytest.raises(UserError, match="does not fit"):
            check(replace(sidecar, **compatible), engine, plugins, **here)


def test_without_sidecar(engine: Path) -> None:
    with pytest.raises(UserError, match=r"has no sidecar model\.engine\.json.*--trust-engine"):
        read_sidecar(engine)


@pytest.mark.parametrize("change", [{"engine_sha256": None}, {"extra": 1}])
def test_a_foreign_sidecar(sidecar: Sidecar, engine: Path, change: dict[str, Any]) -> None:
    write_sidecar(sidecar, engine)
    content = {**json.loads(sidecar_path(engine).read_text()), **change}
    sidecar_path(engine).write_text(json.dumps({k: v for k, v in content.items() if v is not None or k == "cuda"}))
    with pytest.raises(UserError, match="not a sidecar"):
        read_sidecar(engine)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("capabilities", ["8.9", "new"], r"capabilities\[1\]: expected text matching"),
        ("capabilities", "8.9", "capabilities: expected list"),
        ("version", "10", "version: expected text matching"),
        ("version", 10.13, "version: expected text"),
        ("engine_sha256", "0" * 63, "engine_sha256: expected text matching"),
        ("metadata", {"bounds": 1}, r"metadata.*: expected text"),
        ("metadata", [], "metadata: expected object"),
        ("precision", {"compute": {"fp32": "all"}}, "precision.*: expected number"),
        ("flavour", "other", "flavour: "),
        ("corners", [{"shape": [1, 0, 32]}], r"corners\[0\].*"),
        ("corners", "none", "corners: expected list"),
        ("onnx", "a\x1b[31m", "onnx: expected text matching"),
    ],
)
def test_fields_of_another_kind_are_named(sidecar: Sidecar, engine: Path, field: str, value: Any, message: str) -> None:
    write_sidecar(sidecar, engine)
    content = json.loads(sidecar_path(engine).read_text())
    sidecar_path(engine).write_text(json.dumps({**content, field: value}))
    with pytest.raises(UserError, match=rf"model\.engine\.json: not a sidecar .*\({message}"):
        read_sidecar(engine)


def test_an_old_sidecar_without_metadata_of_a_precision_is_no_key_error(sidecar: Sidecar, engine: Path) -> None:
    write_sidecar(sidecar, engine)
    content = json.loads(sidecar_path(engine).read_text())
    del content["tf32"]
    sidecar_path(engine).write_text(json.dumps({**content, "metadata": {}, "precision": {}}))
    assert read_sidecar(engine).tf32
    sidecar_path(engine).write_text(json.dumps({**content, "metadata": {"precision": "fp32"}, "precision": {}}))
    assert read_sidecar(engine).metadata == {"precision": "tf32"}


def test_the_hash_is_of_the_bytes_that_run(sidecar: Sidecar, engine: Path, plugins: Path) -> None:
    machine: dict[str, Any] = {"flavour": "tensorrt", "version": "10.13.0", "capability": "8.9", "plugins": plugins}
    with pytest.raises(UserError, match="its SHA-256 is"):
        check_sidecar(sidecar, engine, b"read before the file was replaced", **machine)
