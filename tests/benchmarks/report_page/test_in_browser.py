"""The page of a comparison that was run, in a browser: every figure, the JSON's numbers, and nothing from elsewhere."""

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest

from benchmarks.harness.comparison import compare
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.report_file import write_report
from benchmarks.harness.settings import Settings
from benchmarks.report_page.differences import differences
from benchmarks.report_page.write import Extra, write_page
from refinemask.config import Window
from refinemask.data.coco import read_coco
from refinemask.evaluation.prediction_file import PredictionFile
from tests.support.chromium import EMPTY, chromium, require_fits, require_quiet

ROWS = """[...document.querySelectorAll("section[aria-labelledby=engines] .card > table > tbody > tr")].map((row) =>
  Object.fromEntries([...row.querySelectorAll("td")].map((cell) => [cell.dataset.label, cell.firstChild.textContent])))"""


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
    dataset, extras = read_coco(annotations), list[Extra | None]()

    def look(report: ComparisonReport, predictions: Sequence[PredictionFile], window: Window | None) -> None:
        extras.append(differences(report, predictions, window, dataset=dataset, directory=pictures[0].parent))

    settings = Settings(threads=1, warmup=0, rounds=8)
    report = compare((str(toy_onnx), str(other_onnx)), dataset, pictures[0].parent, settings, look=look)
    page, numbers = tmp_path / "page.html", tmp_path / "report.json"
    write_report(report, numbers)
    write_page(report, page, *filter(None, extras))
    return page, numbers


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
