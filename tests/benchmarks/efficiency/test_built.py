"""TensorRT's rows from one command: what is exported and built for them, and what happens when an engine is refused."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks import compare
from benchmarks.efficiency import built, files, run
from benchmarks.efficiency.models import MODELS
from engines import Sidecar
from engines.trt.sidecar import write_sidecar
from export import MismatchError
from refinemask import __version__
from refinemask.agreement import PARITY
from refinemask.config_json import to_json
from refinemask.contract import Bounds, Metadata
from refinemask.files import FailedCheckError, UserError, sha256
from tests.benchmarks.efficiency.conftest import COCO_CONFIG
from tests.support.engine_reports import make_comparison, make_engine
from tests.support.toy_onnx import write_toy_onnx


@dataclass
class Machine:
    """A GPU with TensorRT on which nothing is really exported, built or measured."""

    exported: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    refused: str | None = None
    """Name of the engine that TensorRT refuses, or whose detections are wrong."""

    def export(self, timeout: None, function: object, checkpoint: Path, path: Path, **options: Any) -> Any:
        self.exported.append(path.name)
        bounds: Bounds = options["bounds"]
        origin = {"source_sha256": sha256(checkpoint), "exporter": __version__, "config": to_json(COCO_CONFIG)}
        write_toy_onnx(path, bounds=bounds.to_json(), precision=options["precision"], **origin)

    def build(self, source: Path, output: Path, *, precision: str) -> None:
        self.built.append(output.name)
        if output.name == self.refused:
            raise FailedCheckError(f"{output}: not written, 3 of 100 detections agree")
        output.write_bytes(b"engine")
        metadata = Metadata.of_model(onnx.load(source), source).to_properties() | {"precision": precision}
        sidecar = Sidecar(
            engine_sha256=sha256(output), onnx=source.name, onnx_sha256=sha256(source), plugins=None,
            plugins_sha256=None, flavour="tensorrt", version="10.13.0", cuda=None, driver=None, gpu="NVIDIA L4",
            capabilities=("8.9",), metadata=metadata, tf32=False, precision={}, command="",
        )  # fmt: skip
        write_sidecar(sidecar, output)

    def measure(self, engines: list[str], *_: object) -> Any:
        return make_comparison([make_engine(engine=Path(engine).name) for engine in engines])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(files, "call_in_child", machine.export)
    monkeypatch.setattr(files, "print_export", lambda report: None)
    monkeypatch.setattr(built, "build_engine", machine.build)
    monkeypatch.setattr(built, "find_spec", lambda name: object())
    monkeypatch.setattr(built, "library_path", lambda: Path("lib"))
    monkeypatch.setattr(run, "measure", machine.measure)
    monkeypatch.setattr(run, "build_report", lambda measured: measured)
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(run.torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    return machine


Command = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, checkpoints: list[Path], work: Path, pictures: list[Path], tmp_path: Path
) -> Command:
    """Runs the command with more arguments: exit code, and the engines in the report."""

    def call(*further: object) -> tuple[int, list[str]]:
        output = tmp_path / "table.json"
        arguments = ["--table", "efficiency", *checkpoints, "--work", work, "--output", output, "--size", "64x96"]
        arguments += ["--images", pictures[0].parent, *further]
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
        code = compare.main()
        report = json.loads(output.read_text()) if output.exists() else {"backends": []}
        return code, [engine["engine"] for backend in report["backends"] for engine in backend["engines"]]

    return call


ENGINES = ["mask-rcnn-64x96-fp16.engine", "refinemask-64x96-fp16.engine"]
ROWS = [f"{engine}@tensorrt:fp16" for engine in ENGINES]
ON_GPU = ("--device", "cuda", "--backends", "tensorrt:fp16")


def test_one_command_exports_builds_and_measures(machine: Machine, command: Command) -> None:
    assert command(*ON_GPU) == (0, ROWS)
    assert machine.exported == [name.replace(".engine", ".onnx") for name in ENGINES]
    assert machine.built == ENGINES
    assert command(*ON_GPU) == (0, ROWS)
    assert (len(machine.exported), len(machine.built)) == (2, 2), "all is there"


def test_engines_of_another_file_are_built_again(machine: Machine, command: Command, work: Path) -> None:
    command(*ON_GPU)
    (work / ENGINES[0]).write_bytes(b"half an engine")
    Path(f"{work / ENGINES[1]}.json").unlink()
    assert command(*ON_GPU)[0] == 0
    assert machine.built == ENGINES * 2


def test_tf32_is_built_of_the_fp32_file(machine: Machine, command: Command) -> None:
    assert command("--device", "cuda", "--backends", "tensorrt:tf32")[0] == 0
    assert (machine.exported, machine.built[0]) == ([], "mask-rcnn-64x96-tf32.engine")


def test_a_refused_engine_is_named_and_other_rows_stand(
    machine: Machine, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.refused = ENGINES[1]
    code, rows = command("--device", "cuda", "--backends", "pytorch", "tensorrt:fp16")
    assert code == 1
    assert f"{ENGINES[1]}: not written, 3 of 100" in capsys.readouterr().err
    assert [row.split("@")[1] for row in rows] == ["pytorch", "pytorch"]
    machine.refused = None
    code, rows = command("--device", "cuda", "--backends", "pytorch", "tensorrt:fp16", "--resume")
    assert (code, rows[2:]) == (0, ROWS)
    assert machine.built == [*ENGINES, ENGINES[1]], "what was built stays"


def test_a_file_that_is_not_pytorch_s_is_not_built(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MismatchError("its masks are not PyTorch's", [], PARITY["fp16"])

    monkeypatch.setattr(files, "call_in_child", refuse)
    assert command(*ON_GPU) == (2, [])
    assert "could not be exported" in capsys.readouterr().err
    assert machine.built == []


def test_nothing_is_exported_in_vain(
    machine: Machine, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_library() -> Path:
        raise FileNotFoundError("there is no plugin library; build it")

    assert command("--backends", "tensorrt:fp16") == (2, [])
    assert "add --device cuda" in capsys.readouterr().err
    monkeypatch.setattr(built, "library_path", no_library)
    assert command(*ON_GPU) == (2, [])
    assert "tensorrt:fp16: there is no plugin library" in capsys.readouterr().err
    monkeypatch.setattr(built, "find_spec", lambda name: None)
    assert command(*ON_GPU) == (2, [])
    error = capsys.readouterr().err
    assert "TensorRT is not installed" in error
    assert error.count("\n") == 1
    assert machine.exported == machine.built == []


def test_a_calibrated_precision_is_not_made_here(machine: Machine, checkpoints: list[Path], work: Path) -> None:
    mask_rcnn = checkpoints[1]
    source = files.Source(MODELS[0], mask_rcnn, random=False)
    with pytest.raises(UserError, match=r"mask-rcnn-64x96-int8.engine: no such file; int8 needs a calib") as missing:
        built.built(source, "int8", work, work, (64, 96))
    engine, original = (work / f"mask-rcnn-64x96-{name}" for name in ("int8.engine", "fp16.onnx"))
    assert f"export.quantize {original} -o {engine.with_suffix('.onnx')} --precision int8" in str(missing.value)
    assert f"engines.build {engine.with_suffix('.onnx')} -o {engine}" in str(missing.value)
    assert "\n" not in str(missing.value)
    bounds = Bounds(batch=(1, 1, 1), height=(64, 64, 64), width=(96, 96, 96))
    machine.export(None, None, mask_rcnn, original, bounds=bounds, precision="fp16")
    machine.build(original, engine, precision="int8")
    assert built.built(source, "int8", work, work, (64, 96)) == engine
    other = files.Source(MODELS[0], checkpoints[0], random=False)
    with pytest.raises(UserError, match=r"was not made of .*; make it again: python -m export.quantize "):
        built.built(other, "int8", work, work, (64, 96))
