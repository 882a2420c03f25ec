"""No export or build replaces what it reads, and all are told so before they compute."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engines
from export import export_onnx, quantize_onnx
from refinemask.bundled import DEMO
from refinemask.files import UserError
from tests.support.toy_onnx import write_toy_onnx

NUCLEI = DEMO / "weights" / "refinemask-nuclei.safetensors"
Verb = Callable[[Path, Path], Any]


def quantize(model: Path, output: Path) -> object:
    return quantize_onnx(model, output, images=model.parent, ranges=output)


VERBS: dict[str, tuple[str, Verb]] = {
    "export": ("a.onnx", export_onnx),
    "quantize": ("a.onnx", quantize),
    "build": ("a.engine", lambda onnx, output: engines.build_engine(onnx, output, bodies=True)),
    "compile": ("a.pt2", lambda checkpoint, output: engines.compile_engine(checkpoint, output, device="cpu")),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_output_that_is_the_input_is_refused_and_kept(tmp_path: Path, verb: str) -> None:
    name, run = VERBS[verb]
    path = tmp_path / name
    link = tmp_path / "b.onnx"
    write_toy_onnx(path)
    link.symlink_to(path)
    whole = path.read_bytes()
    with pytest.raises(UserError, match=rf"{name}: is read by this very command and would be overwritten"):
        run(link, path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("verb", VERBS)
def test_an_output_of_another_ending_is_refused(tmp_path: Path, verb: str) -> None:
    ending = Path(VERBS[verb][0]).suffix
    source = NUCLEI if verb in ("export", "compile") else write_toy_onnx(tmp_path / "toy.onnx")
    with pytest.raises(UserError, match=rf"a\.txt: expected the name of a {ending} file"):
        VERBS[verb][1](source, tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()


def test_a_sidecar_and_ranges_replace_no_input_either(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.pt2.json"
    checkpoint.write_bytes(NUCLEI.read_bytes())
    with pytest.raises(UserError, match=r"a\.pt2\.json: is read by this very command"):
        engines.compile_engine(checkpoint, tmp_path / "a.pt2", device="cpu")
    annotations, onnx = tmp_path / "a.ranges.json", write_toy_onnx(tmp_path / "toy.onnx")
    annotations.write_text("{}")
    with pytest.raises(UserError, match=r"a\.ranges\.json: is read by this very command"):
        quantize_onnx(onnx, tmp_path / "a.onnx", images=tmp_path, calibration=annotations)
