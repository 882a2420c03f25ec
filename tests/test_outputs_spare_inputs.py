"""No command's output replaces one of its inputs, under whatever name: the file stays, and the exit code is 2."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.command_reference import read_commands, spelling

PRECIOUS = b"precious"
CASES = (
    ("refinemask.convert", "{a.safetensors} -o {a.safetensors}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --output {v.json}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --output {a.onnx}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --results {v.json}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --results {a.onnx}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --predictions {v.json}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --predictions {a.onnx}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --predictions {p.json} --output {p.json}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --predictions {p.json} --results {p.json}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.json} --images {dir} --results {r.json} --output {r.json}"),
    ("refinemask.evaluate", "--annotations {v.json} --results {r.json} --output {r.json}"),
    ("refinemask.evaluate", "--annotations {v.json} --results {r.json} --output {v.json}"),
    ("refinemask.evaluate", "{a.onnx} --annotations {v.html} --images {dir} --report {v.html}"),
    ("refinemask.data.inspect", "{v.json} --images {dir} -o {v.json}"),
    ("refinemask.data.inspect", "{a.png} --images {dir} --val-annotations {v.json} -o {v.json}"),
    ("refinemask.batch.__main__", "{dir} --model {a.onnx} -o {dir} --to-coco {a.onnx}"),
    ("refinemask.batch.__main__", "{v.json} --model {a.onnx} -o {dir} --to-coco {v.json}"),
    ("export.to_onnx", "{a.onnx} -o {a.onnx}"),
    ("export.quantize", "{a.onnx} -o {a.onnx} --images {dir}"),
    ("export.quantize", "{a.safetensors} -o {r.onnx} --images {dir} --ranges {r.onnx}"),
    ("export.quantize", "{a.onnx} -o {v.onnx} --images {dir} --max-drop 0.3 --annotations {v.onnx}"),
    ("export.quantize", "{a.safetensors} -o {v.onnx} --images {dir} --calibration {v.onnx}"),
    ("engines.build", "{a.onnx} -o {a.onnx}"),
    ("engines.build", "{a.safetensors} -o {a.safetensors}"),
    ("engines.deepstream.__main__", "{network.onnx} --frame 90x160 -o {dir}"),
    ("benchmarks.ap", "{a.onnx} --annotations {v.json} --images {dir} -o {v.json}"),
    ("benchmarks.ap", "{a.onnx} --annotations {v.json} --images {dir} -o {a.onnx}"),
    ("benchmarks.compare", "{a.onnx} --annotations {v.json} --images {dir} -o {v.json}"),
    ("benchmarks.compare", "{a.onnx} {b.onnx}@openvino --annotations {v.json} --images {dir} -o {b.onnx}"),
    ("benchmarks.compare", "{a.onnx} {r.json}@x:3 --annotations {v.json} --images {dir} -o {r.json}"),
    ("benchmarks.compare", "--table efficiency {a.safetensors} --annotations {v.json} --images {dir} -o {v.json}"),
    ("benchmarks.compare", "{a.onnx} --annotations {v.html} --images {dir} --report {v.html}"),
    ("benchmarks.compare", "{a.onnx} --annotations {v.json} --images {dir} -o {p.html} --report {p.html}"),
    (
        "benchmarks.compare",
        "--table efficiency {a.safetensors} --annotations {v.html} --images {dir} --report {v.html}",
    ),
    ("benchmarks.fps", "{v.html} --images {dir} --report {v.html}"),
    ("benchmarks.fps", "{a.onnx} --images {dir} -o {a.onnx}"),
    ("benchmarks.fps", "{a.onnx} --images {a.png} -o {a.png}"),
    ("benchmarks.graph", "{a.onnx} {b.onnx} --output {b.onnx}"),
    ("benchmarks.calibration", "{a.onnx} -o {a.onnx}"),
    ("benchmarks.breakdown.__main__", "{a.onnx} -o {a.onnx}"),
    ("benchmarks.peers.__main__", "{a.onnx} -o {a.onnx}"),
    ("benchmarks.streaming.__main__", "--nuclei {a.onnx} -o {a.onnx}"),
    ("benchmarks.scaling.__main__", "{a.onnx} --images {dir} -o {a.onnx}"),
    ("benchmarks.scaling.__main__", "{a.onnx} --images {a.png} -o {a.json}"),
    ("benchmarks.serving.__main__", "http://127.0.0.1:1 --local {a.onnx} -o {a.onnx}"),
    ("benchmarks.training", "{dir} --data-root {dir} -o {recipe.json}"),
    ("refinemask.evaluation.ap_star", "{v.json} -o {v.json}"),
)
"""Modules, and words in which each name in braces is a file, or the directory of all."""
NOT_HERE = {
    "refinemask.predict": "the output is a directory; writers/test_write.py has what it may hold",
    "refinemask.train": "the output is the directory of a run, which is never one with another run in it",
    "engines.triton_client": "the output is a directory; its own tests have what it may hold",
    "engines.triton": "the output is a directory, in which nothing but models of its own is replaced",
    "benchmarks.batch_job": "it reads bundled files alone",
    "benchmarks.data_loading": "it reads bundled files alone",
    "benchmarks.demo": "the output is a directory, of files with names of their own",
    "benchmarks.fine_tune": "it reads bundled files alone",
    "benchmarks.gpu_suite": "the output is a directory, of files with names of their own",
    "benchmarks.random_weights": "it reads no file",
    "benchmarks.savings": "it reads bundled files alone",
    "trt_plugins.build": "the output is a directory, of libraries",
}
"""Commands whose output is not the name of a file, or can be none of their inputs."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("a.safetensors", "a.onnx", "b.onnx", "r.onnx", "v.onnx", "a.engine", "a.pt2", "a.png", "v.json",
                 "p.json", "r.json", "v.html", "p.html", "recipe.json", "results.json", "network.onnx"):  # fmt: skip
        (tmp_path / name).write_bytes(PRECIOUS)
    return tmp_path


def run(module: str, words: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> int:
    names = {part.partition("}")[0] for part in words.split("{")[1:]}
    for name in names:
        words = words.replace(f"{{{name}}}", str(directory if name == "dir" else directory / name))
    monkeypatch.setattr(sys, "argv", [f"python -m {module}", *words.split(" ")])
    return importlib.import_module(module).main()


@pytest.mark.parametrize(("module", "words"), CASES)
def test_an_input_stays_as_it_is(
    module: str, words: str, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(module, words, monkeypatch, directory) == 2
    error = capsys.readouterr().err
    assert re.search("would be overwritten|are both", error), error
    assert {path.read_bytes() for path in directory.iterdir()} == {PRECIOUS}


def with_an_output() -> Iterator[str]:
    for group in read_commands():
        for command in group:
            names = {name for parser in command.parsers().values() for a in parser._actions for name in spelling(a)}
            if names & {"--output", "-o"}:
                yield command.module


def test_every_command_with_an_output_is_here() -> None:
    assert set(with_an_output()) == {module.removesuffix(".__main__") for module, _ in CASES} | NOT_HERE.keys()
