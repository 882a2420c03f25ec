"""The page of a comparison that was run, in a browser: every figure, the JSON's numbers, and nothing from elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from benchmarks import compare
from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.report import Outcome
from benchmarks.harness.settings import Settings
from benchmarks.report_page.write import write_page
from tests.support.chromium import EMPTY, chromium, require_fits, require_quiet
from tests.support.page_reports import make_page_report, with_others

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


def test_a_page_of_all_that_a_report_can_have_fits_every_window(tmp_path: Path) -> None:
    report = with_others(make_page_report(9))
    reason = "has no interval: fewer than six rounds bound none; measure more images or --rounds"
    outcomes = [
        Outcome(requirement="ΔAP >= -0.2", engine=f"{'long-' * 12}name.onnx", met=False, value=-2.1, judged=-2.5),
        Outcome(requirement="speedup > 1", engine="a.onnx", met=False, value=None, judged=None, reason=reason),
    ]
    state = DeviceState(sm_mhz=1980, memory_mhz=2619, watts=400.0, celsius=60, p_state=0, throttling=("board limit",))
    report = replace(
        report,
        requirements=tuple(outcomes),
        rounds=tuple(replace(each, state=state) for each in report.rounds),
        engines=tuple(replace(each, joules_per_image=1.25, device_memory_mib=900.0) for each in report.engines),
    )
    write_page(report, tmp_path / "page.html")
    with chromium() as page:
        for width, dark in ((360, False), (800, True), (1600, False)):
            page.open(tmp_path / "page.html", width, dark=dark)
            page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            require_fits(page)
            require_quiet(page)
            assert page.run(EMPTY) == 0
