"""The page of a comparison that was run, in a browser: every figure, the JSON's numbers, and nothing from elsewhere."""

import json
from pathlib import Path

import onnx
import pytest

from benchmarks import compare
from benchmarks.harness.settings import Settings
from tests.support.chromium import EMPTY, chromium, require_fits, require_quiet

ROWS = """[...document.querySelectorAll("section[aria-labelledby=engines] .card > table > tbody > tr")].map((row) =>
  Object.fromEntries([...row.querySelectorAll("td")].map((cell) =>
    [cell.dataset.label, cell.firstChild?.textContent])))"""


@pytest.fixture
def other_onnx(toy_onnx: Path) -> Path:
    """The toy engine, whose smallest box is larger."""
    model = onnx.load(toy_onnx)
    [corners] = [each for each in model.graph.initializer if each.name == "corners"]
    values = onnx.numpy_helper.to_array(corners).copy()
    values[2, 2:] = 0.4
    corners.CopyFrom(onnx.numpy_helper.from_array(values, "corners"))
    path = toy_onnx.with_name("other.onnx")
    onnx.save(model, path)
    return path


@pytest.fixture
def written(
    toy_onnx: Path, other_onnx: Path, annotations: Path, pictures: list[Path], tmp_path: Path
) -> tuple[Path, Path]:
    """Page and JSON of two engines."""
    args = compare.Args(
        engines=(str(toy_onnx), str(other_onnx)),
        annotations=annotations,
        images=pictures[0].parent,
        output=tmp_path / "report.json",
        report=tmp_path / "page.html",
        settings=Settings(threads=1, warmup=0, rounds=8),
    )
    assert compare.main(args) == 0
    return tmp_path / "page.html", tmp_path / "report.json"


def test_every_figure_is_drawn_and_numbers_are_those_of_the_json(written: tuple[Path, Path]) -> None:
    file, numbers = written
    engines = json.loads(numbers.read_text())["engines"]
    with chromium() as page:
        for width, dark in ((1600, False), (360, True)):
            page.open(file, width, dark=dark)
            require_fits(page)
            require_quiet(page)
            assert page.run(EMPTY) == 0
        for row, engine in zip(page.run(ROWS), engines, strict=True):
            assert row["FPS"] == f"{engine['fps']:.2f}"
            assert row["FPS end to end"] == f"{engine['fps_end_to_end']:.2f}"
            assert row["speed-up"] == f"{engine['speedup']['p50']:.2f}×"
            assert row["AP"] == f"{100 * engine['accuracy']['segm']['AP']:.2f}"
            assert row["boundary AP"] == f"{100 * engine['accuracy']['boundary']['AP']:.2f}"
        # Both find three objects in each of the four pictures, of which one has another size.
        notes = page.run("[...document.querySelectorAll('.views figcaption span')].map((note) => note.textContent)")
        assert len(notes) == 4
        assert all(note.startswith("3 objects in both, their masks with a mean IoU of 0.") for note in notes)
        assert page.run("document.querySelectorAll('.views svg').length") == 16
        assert page.run("document.querySelectorAll('path.second').length") == 4
        assert page.pdf().startswith(b"%PDF")
