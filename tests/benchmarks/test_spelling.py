"""The old spelling of every option means what the new one means, at every door."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import benchmarks
from refinemask.command import execute

FILES = "--annotations a.json --images pictures"
LINES = {
    "ap": (f"a.onnx b.onnx {FILES} -o ap.json", f"{FILES} --output ap.json a.onnx b.onnx"),
    "fps": (
        "a.onnx b.onnx@openvino --images pictures --size 64x96 -o fps.json",
        "--images pictures --canvas 64 96 --output fps.json a.onnx b.onnx@openvino",
    ),
    "compare": (
        f"a.onnx b.onnx {FILES} --size 64x96 -o compare.json",
        f"a.onnx b.onnx {FILES} --canvas=64x96 --output=compare.json",
    ),
    "compare --table efficiency": (
        "a.safetensors b.safetensors --size 64x96 -o table.json --annotations a.json",
        "--annotations a.json --size=64x96 --output table.json a.safetensors b.safetensors",
    ),
    "breakdown": ("a.onnx b.onnx --size 64x96 -o parts.json", "--canvas 64 96 --output parts.json a.onnx b.onnx"),
    "calibration": ("a.onnx --count 8 --counts 8 16 -o cal.json", "--output cal.json --counts 8 16 --count=8 a.onnx"),
    "graph": ("a.onnx b.onnx -o graph.json", "--output graph.json a.onnx b.onnx"),
    "peers": ("a.onnx --size 64x96 -o peers.json", "--canvas 64 96 a.onnx --output peers.json"),
    "savings": ("--size 64x96 --rounds 3 -o savings.json", "--height 64 --width 96 --rounds 3 --output savings.json"),
    "paste": ("--size 800x96 --mask_size 28", "--mask-size 28 --width=96"),
    "demo": ("--model a.safetensors -o out/a --pictures 0", "--checkpoint a.safetensors --output out/a --pictures 0"),
    "training": ("runs/a runs/b --data-root data -o t.json", "--data-root data --output t.json runs/a runs/b"),
    "random_weights": (
        "-o a.safetensors --depth 101 mask-head:fcn-mask-config",
        "--output a.safetensors --depth 101 mask-head:fcn-mask-config",
    ),
    "preprocess": ("--image a.jpg --rounds 3", "--rounds=3 --image=a.jpg"),
    "data_loading": ("--rounds 3 -o loading.json", "--output loading.json --rounds=3"),
    "reading": ("--images 3 --objects 5", "--objects=5 --images=3"),
    "fine_tune": ("-o tune.json --epochs 1", "--epochs=1 --output tune.json"),
    "streaming": (
        "--nuclei a.onnx b.onnx --size 64x96 --turn-seconds 1 -o streaming.json",
        "--output streaming.json --size=64x96 --turn_seconds=1 --nuclei a.onnx b.onnx",
    ),
    "serving": (
        "http://a grpc://a:8001 --network n --local a.onnx --clients 1 4 --window-seconds 2 -o serving.json",
        "--output serving.json --window_seconds=2 --clients 1 4 --local=a.onnx --network=n http://a grpc://a:8001",
    ),
    "scaling": (
        "a.onnx b.onnx --images pictures --sizes 64x96 32x64 --batches 1 2 -o scaling.json",
        "--images=pictures --output scaling.json --batches 1 2 --sizes 64x96 32x64 --limit 4 a.onnx b.onnx",
    ),
    "batch_job": ("--side 64 --shard-size 5 -o job.json", "--output job.json --shard_size=5 --side=64"),
    "evaluation": ("--iou-types bbox --images 3", "--images=3 --iou_types=bbox"),
}
"""The same command line in the new and in the old spelling, by door."""
ELSEWHERE = {"gpu_suite"}
"""Doors with a parser of their own, whose tests are beside those of their packages."""


def doors() -> set[str]:
    """The modules that ``python -m benchmarks.X`` runs."""
    [root] = map(Path, benchmarks.__path__)
    files = {path.stem for path in root.glob("*.py") if path.stem != "__init__"}
    return files | {path.parent.name for path in root.glob("*/__main__.py")}


def parse(door: str, line: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arguments that a command line means to a door, which does nothing with them."""
    name, *first = door.split()
    module = import_module(f"benchmarks.{name}")
    if hasattr(module, "__path__"):
        module = import_module(f"benchmarks.{name}.__main__")
    parsed: list[Any] = []

    def read(kind: type[Any], action: object, args: Any = None, description: str | None = None, **rest: Any) -> int:
        return execute(kind, parsed.append, args, description, **rest)

    monkeypatch.setattr(module, "execute", read)
    monkeypatch.setattr(sys, "argv", [name, *first, *line.split()])
    assert module.main() == 0
    [args] = parsed
    return args


def test_every_door_is_tried() -> None:
    assert {door.split()[0] for door in LINES} | ELSEWHERE == doors()


@pytest.mark.parametrize("door", LINES)
def test_old_and_new_spellings_mean_the_same(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = (parse(door, line, monkeypatch) for line in LINES[door])
    assert new == old


@pytest.mark.parametrize("door", LINES)
def test_the_help_shows_only_the_new_spelling(
    door: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(door, "--help", monkeypatch)
    words = capsys.readouterr().out.split()
    assert "-h," in words
    assert not {"--canvas", "--height", "--width", "--checkpoint", "--out", "{None}|PATH"} & set(words)
