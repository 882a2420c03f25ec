"""The worked examples of docs/extending do what they say, and the pages show their code as it is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytest

import engines
from engines.base import Engine
from examples import read_another_format, write_an_engine
from examples.write_an_engine import IsolatedEngine, compare_with_pytorch
from refinemask.agreement import PARITY, passes
from refinemask.bundled import DEMO, NUCLEI
from refinemask.data.coco import CocoDataset, read_coco
from refinemask.files import UserError
from refinemask.weights import read_config
from tests.support.toy_onnx import write_toy_onnx

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT, PICTURE = DEMO / "weights" / "refinemask-nuclei.safetensors", NUCLEI / "images" / "0005.png"
PAGES = {"engine": "write_an_engine", "mask-head": "add_a_mask_head", "data-format": "read_another_format"}


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language in a page of docs/extending; what is from within a class begins at its left."""
    text = (ROOT / "docs" / "extending" / f"{page}.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("page", "example"), PAGES.items())
def test_a_page_shows_the_code_of_its_example(page: str, example: str) -> None:
    source = (ROOT / "examples" / f"{example}.py").read_text()
    shown = blocks(page, "python")
    assert len(shown) >= 3
    assert [block for block in shown if not any(f"\n{indent(block, ' ' * by)}" in source for by in (0, 4))] == []


def test_the_edits_that_a_page_proposes_fit_the_code() -> None:
    source = (ROOT / "engines" / "__init__.py").read_text()
    shown = blocks("engine", "diff")
    assert len(shown) == 2
    for block in shown:
        assert re.search(r"^\+", block, re.MULTILINE)
        before = "".join(line[1:] or "\n" for line in block.splitlines(keepends=True) if not line.startswith("+"))
        assert before in source


def test_the_engine_agrees_with_pytorch(nuclei_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(nuclei_onnx, tmp_path)
    assert write_an_engine.main(tmp_path) == 0
    assert (tmp_path / PICTURE.name).is_file()
    near, total = map(int, re.findall(r"(\d+) of (\d+) detections agree", capsys.readouterr().out)[0])
    assert near >= PARITY["fp32"].share * total > 10


@pytest.mark.slow
def test_the_example_of_an_engine_exports_what_it_runs(tmp_path: Path) -> None:
    assert write_an_engine.main(tmp_path) == 0


class MirroringEngine(IsolatedEngine):
    """Takes left for right."""

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> int:
        return super().upload(images[..., ::-1], image_sizes)


class RoundingEngine(IsolatedEngine):
    """Rounds boxes to whole pixels."""

    def download(self, outputs: int) -> Any:
        found = super().download(outputs)
        return found._replace(boxes=found.boxes.round())


@pytest.mark.parametrize("wrong", [MirroringEngine, RoundingEngine])
def test_a_wrong_engine_is_caught(nuclei_onnx: Path, wrong: type[IsolatedEngine]) -> None:
    engine = wrong(nuclei_onnx, threads=1)
    assert not passes([compare_with_pytorch(engine, CHECKPOINT, PICTURE)], PARITY["fp32"])
    engine.close()


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[IsolatedEngine]:
    """The engine on a file that takes no time."""
    engine = IsolatedEngine(write_toy_onnx(tmp_path / "toy.onnx"), threads=1)
    yield engine
    engine.close()


def test_batches_of_the_engine_stay_apart_and_its_crash_is_named(toy: IsolatedEngine, tmp_path: Path) -> None:
    batches = [np.full((1, 3, 64, 96), value, np.uint8) for value in (9, 200)]
    sizes = np.array([[64, 96]])
    first, second = (toy.run(toy.upload(batch, sizes)) for batch in batches)
    reference: Engine = engines.load(tmp_path / "toy.onnx", threads=1)
    for batch, outputs in ((batches[1], second), (batches[0], first)):
        for found, expected in zip(toy.download(outputs), reference.infer(batch, sizes), strict=True):
            np.testing.assert_array_equal(found, expected)
    toy._process.kill()
    with pytest.raises(UserError, match=r"toy.onnx: the process of its engine ended with exit code -9"):
        toy.infer(batches[0], sizes)


def test_what_the_engine_cannot_run_is_named(tmp_path: Path) -> None:
    path = write_toy_onnx(tmp_path / "toy.onnx")
    with pytest.raises(UserError, match="in the file's own precision, fp32, not on cpu in fp16"):
        IsolatedEngine(path, precision="fp16")
    with pytest.raises(UserError, match="not on cuda"):
        IsolatedEngine(path, device="cuda")


def test_a_new_head_learns_and_its_exported_file_agrees(tmp_path: Path) -> None:
    """In a process of its own: the head enters itself into the table of families."""
    done = subprocess.run(
        [sys.executable, "examples/add_a_mask_head.py", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, last = (float(loss) for loss in re.findall(r"mask loss ([\d.]+)", done.stdout))
    assert last < 0.95 * first
    agreeing, total = map(int, re.findall(r"(\d+) of (\d+) detections agree", done.stdout)[0])
    assert agreeing >= PARITY["fp32"].share * total > 0
    found, pixels = map(int, re.findall(r"(\d+) detections, (\d+) pixels", done.stdout)[0])
    assert found > 0
    assert pixels > 0
    # Here nobody has imported the head.
    with pytest.raises(UserError, match=r"last.safetensors: .*kind 'light'.*import the module that defines it"):
        read_config(tmp_path / "last.safetensors")
    with pytest.raises(UserError, match=r"light.onnx: .*kind 'light'"):
        engines.load(tmp_path / "light.onnx")


def objects(dataset: CocoDataset) -> dict[str, list[tuple[Any, ...]]]:
    """The objects of each image file, whatever their order and numbers."""
    return {
        image.file_name: sorted((a.bbox, a.area, str(a.segmentation), a.iscrowd) for a in dataset.annotations[image.id])
        for image in dataset.images
    }


def test_converted_run_lengths_are_the_bundled_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_another_format.main(tmp_path)
    converted = read_coco(tmp_path / "instances.json")
    bundled = objects(read_coco(NUCLEI / "annotations" / "instances_val.json"))
    assert len(converted.images) == read_another_format.IMAGES
    assert objects(converted) == {image.file_name: bundled[image.file_name] for image in converted.images}
    figures = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert figures[0] == figures[1]
    assert "segm AP" in figures[0]
    assert "-" not in figures[0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "cannot be read: not enough values"),
        ("Id,Runs\n0005,1 2\n", r"begins with \['Id', 'Runs'\], expected the columns ImageId,EncodedPixels"),
        ("ImageId,EncodedPixels\n0005\n", "expected the columns ImageId,EncodedPixels in every line"),
        ("ImageId,EncodedPixels\n0005,1 2 3\n", "line 2: has 3 numbers, expected pairs"),
        ("ImageId,EncodedPixels\n0005,1 2\n0005,\n", "line 3: has 0 numbers"),
        ("ImageId,EncodedPixels\n0005,a b\n", "line 2: invalid literal"),
        ("ImageId,EncodedPixels\n0005,65536 2\n", "line 2: its runs are not in order within the 65536 pixels"),
        ("ImageId,EncodedPixels\n0005,0 2\n", "line 2: its runs are not in order"),
        ("ImageId,EncodedPixels\n0005,9 2 3 1\n", "line 2: its runs are not in order"),
        ("ImageId,EncodedPixels\n0000,1 2\n", r"0000\.png: no such file"),
    ],
)
def test_run_lengths_that_do_not_fit_are_named(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "runs.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        read_another_format.convert(tmp_path / "runs.csv", NUCLEI / "images", tmp_path / "instances.json", "nucleus")
    assert not (tmp_path / "instances.json").exists()
