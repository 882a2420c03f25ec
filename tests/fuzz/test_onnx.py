"""Damaged and hostile ONNX files: read, run and computed to detections, or refused in one line.

The libraries are native code, so a child process opens the inputs. It takes many, and the parent counts what it says
of each. It is no fork: the libraries' threads, which other tests started here, would not be in it.
"""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from engines.trt.plan import BuildOptions, make_plan
from export import check_onnx
from tests.fuzz.conftest import Seeds
from tests.support.mutations import ODD_VALUES, mutated_bytes, refusal
from tests.support.toy_onnx import write_toy_onnx

PATIENCE = 60.0
"""Seconds after which an input counts as one that hangs."""
IMAGES, SIZES = np.full((1, 3, 64, 96), 7, np.uint8), np.array([[64, 96]], np.int64)


def run_onnxruntime(path: Path) -> None:
    engines.load(path, threads=1).infer(IMAGES, SIZES)


def run_openvino(path: Path) -> None:
    engines.load(path, backend="openvino", threads=1).infer(IMAGES, SIZES)


def check_and_plan(path: Path) -> None:
    check_onnx(path)
    make_plan(path, BuildOptions(bodies=True))


@pytest.mark.parametrize(
    ("use", "count"),
    [(run_onnxruntime, 100), (run_openvino, 25), (check_and_plan, 100)],
    ids=["run_onnxruntime", "run_openvino", "check_and_plan"],
)
def test_damaged_files_are_run_or_refused(
    seeds: Seeds, tmp_path: Path, use: Callable[[Path], None], count: int
) -> None:
    if use is run_openvino:
        pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    whole = write_toy_onnx(tmp_path / "whole.onnx").read_bytes()
    paths = []
    for number, random in enumerate(seeds(count)):
        data = mutated_bytes(whole, random) if random.random() < 0.4 else mutated_fields(whole, random)
        paths.append(tmp_path / f"{number}.onnx")
        paths[-1].write_bytes(data)
    refused = sum(map(bool, in_children(use, paths)))
    assert 0.2 * len(paths) < refused


def in_children(use: Callable[[Path], None], paths: list[Path]) -> list[Any]:
    """Why ``use`` refuses each file, None where it takes it; a file that ends or stops the child fails the test."""
    reasons: list[Any] = []
    while len(reasons) < len(paths):
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_answer, args=(theirs, use, paths[len(reasons) :]))
        child.start()
        theirs.close()
        try:
            while len(reasons) < len(paths):
                path = paths[len(reasons)]
                assert ours.poll(PATIENCE), f"hangs: seed {path.stem}"
                try:
                    kind, reason = ours.recv()
                except EOFError:
                    child.join()
                    pytest.fail(f"ends its process with {child.exitcode}: seed {path.stem}")
                assert kind == "ended", f"seed {path.stem}: {reason}"
                reasons.append(reason)
        finally:
            child.kill()
            child.join()
    return reasons


def _answer(pipe: Any, use: Callable[[Path], None], paths: list[Path]) -> None:
    for path in paths:
        try:
            pipe.send(("ended", refusal(lambda path=path: use(path))))  # type: ignore[misc]
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}"))
            return


def mutated_fields(whole: bytes, random: np.random.Generator) -> bytes:
    """A copy of a model with one to three fields changed, in its graph or in what it says about itself."""
    model = onnx.load_from_string(whole)
    for _ in range(random.integers(1, 4)):
        _change(model, random)
    return model.SerializeToString()


def _change(model: onnx.ModelProto, random: np.random.Generator) -> None:
    node = model.graph.node[random.integers(len(model.graph.node))]
    tensor = model.graph.initializer[random.integers(len(model.graph.initializer))]
    entry = model.metadata_props[random.integers(len(model.metadata_props))]
    odd = str(ODD_VALUES[random.integers(len(ODD_VALUES))])
    kind = random.integers(12)
    # Protocol buffers refuse some numbers and some texts themselves.
    with suppress(ValueError, TypeError, IndexError):
        if kind == 0:
            node.op_type = str(random.choice(["Add", "Loop", "If", "NonZero", "TopK", "Resize", "Squash", odd]))
        elif kind == 1:
            node.input[random.integers(len(node.input))] = str(random.choice(["", "images", "scores", odd]))
        elif kind == 2:
            node.output[0] = str(random.choice(["boxes", "masks", odd]))
        elif kind == 3:
            attribute = node.attribute[random.integers(len(node.attribute))]
            attribute.i, attribute.type = int(random.choice([-1, 0, 7, 10, 2**40])), int(random.integers(0, 14))
        elif kind == 4:
            tensor.dims[0] = int(random.choice([-1, 0, 1, 2, 2**31, 2**62]))
        elif kind == 5:
            tensor.data_type = int(random.integers(-1, 30))
        elif kind == 6:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            location = str(random.choice(["/etc/passwd", "../x", "", "*/_ORT_MEM_ADDR_/*", "none", odd]))
            onnx.external_data_helper.set_external_data(tensor, location)
        elif kind == 7:
            entry.value = odd if random.random() < 0.5 else mutated_bytes(entry.value.encode(), random).decode()
        elif kind == 8:
            model.opset_import[0].version = int(random.choice([-1, 0, 1, 13, 99, 2**40]))
        elif kind == 9:
            del model.graph.node[random.integers(len(model.graph.node))]
        elif kind == 10:
            model.graph.output[random.integers(5)].name = odd
        else:
            model.functions[0].node[0].CopyFrom(node)
