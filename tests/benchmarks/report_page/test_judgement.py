"""What a page says of a report in words: the verdict, the flags, and which classes changed most."""

from dataclasses import replace

import pytest

from benchmarks.harness.device_state import DeviceState
from benchmarks.harness.report import ComparisonReport, Estimate, Outcome, RoundReport
from benchmarks.report_page import changes
from benchmarks.report_page.changes import by_class, by_size
from benchmarks.report_page.device import device
from benchmarks.report_page.flags import flags
from benchmarks.report_page.names import engine_series
from benchmarks.report_page.requirements import requirements
from benchmarks.report_page.verdict import verdict
from tests.support.html_page import Reader
from tests.support.page_reports import make_page_report, with_others


def text_of(html: str) -> str:
    return " ".join(Reader(html).texts)


def with_change(low: float, high: float) -> ComparisonReport:
    """Two engines whose mask AP differs with this interval."""
    report = make_page_report(2)
    first, second = report.engines
    assert second.detail is not None
    change = {**second.detail.change, "segm": Estimate((low + high) / 2, low, high)}
    return replace(report, engines=(first, replace(second, detail=replace(second.detail, change=change))))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.01, -0.002, "worse by more than chance"),
        (0.001, 0.002, "better by more than chance"),
        (-0.01, 0.01, "no more than chance"),
    ],
)
def test_a_change_is_judged_by_its_interval(low: float, high: float, words: str) -> None:
    assert words in text_of(verdict(with_change(low, high)))


def test_the_fastest_engine_is_named_with_its_interval() -> None:
    report = make_page_report(4)
    ratio = report.engines[3].speedup
    text = text_of(verdict(report))
    assert f"OpenVINO bf16 is the fastest: {ratio.p50:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})" in text


def test_nothing_is_compared_with_one_engine_or_with_slower_ones() -> None:
    assert "nothing to compare it with" in text_of(verdict(make_page_report(1)))
    report = make_page_report(5)
    slower = replace(report, engines=(report.engines[0], report.engines[4]))
    assert "No engine is faster than the first, PyTorch fp32." in text_of(verdict(slower))


def test_latencies_of_a_busy_machine_are_not_to_be_trusted() -> None:
    report = make_page_report(2, 8)
    rounds = tuple(RoundReport(each.batch, each.order, 0.5 if each.batch == 3 else 0.0) for each in report.rounds)
    busy = replace(report, foreign_load=0.06, rounds=rounds)
    assert "do not trust these latencies" in text_of(verdict(busy))
    text = text_of(flags([busy]))
    assert "Other programs used 6.0% of the CPUs" in text
    assert "In 1 of 8 rounds" in text
    assert "round 4 (50%)" in text
    assert "do not trust" not in text_of(flags([report])) + text_of(verdict(report))


def test_a_throttled_gpu_is_a_flag() -> None:
    report = make_page_report(2, 8)
    slow = DeviceState(sm_mhz=1980, throttling=("software power cap",))
    rounds = tuple(replace(each, state=slow) for each in report.rounds)
    assert "The GPU was throttled (software power cap in 8 of 8 rounds)" in text_of(
        flags([replace(report, rounds=rounds)])
    )


def test_skipped_images_missing_intervals_and_unknown_load_are_flags() -> None:
    report = replace(make_page_report(2, 4), skipped=("a.png", "b.png"), foreign_load=None)
    text = text_of(flags([report, report]))
    assert text.count("2 images were left out") == 1
    assert "a.png, b.png" in text
    assert "fewer than 6 rounds" in text
    assert "unknown" in text
    assert "Nothing stood out" in text_of(flags([make_page_report(2)]))


def test_images_without_a_result_are_a_flag() -> None:
    text = text_of(flags([with_others(make_page_report(2))]))
    assert "Theirs has no result for 3 of 46 images" in text
    assert "Boxes has" not in text


def test_requirements_that_are_not_met_come_first() -> None:
    report = make_page_report(3)
    assert requirements(report) == ""
    met = Outcome(requirement="ΔAP >= -0.2", engine="a.onnx", met=True, value=-0.02, judged=-0.1)
    failed = Outcome(requirement="ΔAP >= -0.2", engine="b.onnx", met=False, value=-2.1, judged=-2.5)
    unknown = Outcome(
        requirement="speedup > 1", engine="<b>.onnx", met=False, value=None, judged=None, reason="has no interval"
    )
    assert "The requirement is met." in text_of(requirements(replace(report, requirements=(met,))))
    page = Reader(requirements(replace(report, requirements=(met, failed, unknown))))
    assert "2 of 3 requirements are not met." in page.texts
    assert page.rows[1:] == [
        ["not met", "ΔAP >= -0.2", "b.onnx", "", "−2.10", "−2.50"],
        ["not met", "speedup > 1", "<b>.onnx", "has no interval", "–", "–"],
        ["met", "ΔAP >= -0.2", "a.onnx", "", "−0.02", "−0.10"],
    ]


def test_a_gpu_that_was_slowed_down_is_not_to_be_trusted() -> None:
    report = make_page_report(2, 8)
    assert device(report) == ""
    assert "GPU was" not in text_of(flags([report]))

    def state(number: int) -> DeviceState:
        hot = number == 3
        return DeviceState(
            sm_mhz=1200 if hot else 1980,
            watts=400.4 + number,
            throttling=("hardware thermal slowdown",) if hot else (),
        )

    rounds = tuple(replace(each, state=state(number)) for number, each in enumerate(report.rounds))
    slowed = replace(report, rounds=rounds)
    text = text_of(flags([slowed]))
    assert "do not trust" in text
    assert "throttled (hardware thermal slowdown in 1 of 8 rounds)" in text
    assert "between 1200 and 1980 MHz" in text
    assert "round 4 (hardware thermal slowdown)" in text
    page = Reader(device(slowed))
    assert page.rows[1:] == [
        ["clock of the multiprocessors, MHz", "8", "1,200", "1,980", "1,980"],
        ["power of the board, W", "8", "400", "404", "407"],
    ]
    assert "Reasons for a lower clock: hardware thermal slowdown in 1 of 8 rounds." in page.texts


def test_classes_are_sorted_by_their_change_and_those_without_objects_are_left_out() -> None:
    first, second = make_page_report(2, classes=30).engines
    rows = by_class(second, first)
    assert len(rows) == 30
    sizes = [abs(row.value) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert second.detail is not None
    assert first.detail is not None
    name = rows[0].name
    change = second.detail.per_class["segm"][name] - first.detail.per_class["segm"][name]
    assert rows[0].value == pytest.approx(100 * change)


def test_sizes_without_objects_are_left_out() -> None:
    first, second = make_page_report(2).engines
    assert [row.name for row in by_size(second, first)] == [
        f"{kind}, {size}" for kind in ("boxes", "masks", "boundaries") for size in ("small", "medium")
    ]


def test_equal_engines_have_a_sentence_in_place_of_empty_charts() -> None:
    report = make_page_report(2)
    assert changes.SAME not in changes.size_and_class_changes(report)
    same = replace(report, engines=(report.engines[0], replace(report.engines[0], engine="other.onnx")))
    html = changes.size_and_class_changes(same)
    assert changes.SAME in html
    assert "<svg" not in html


def test_what_is_not_listed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_ROWS", 40)
    text = text_of(changes.size_and_class_changes(make_page_report(3, 6, 1203)))
    assert "20 classes as a table" in text
    assert "The JSON has 1,183 more" in text


def test_engines_of_one_runtime_are_told_apart_by_their_files() -> None:
    engine = make_page_report(1).engines[0]
    names = [each.name for each in engine_series([engine, replace(engine, engine="other.onnx")])]
    assert names == ["PyTorch fp32, model-0.onnx@pytorch:fp32", "PyTorch fp32, other.onnx"]
    assert [each.name for each in engine_series([engine])] == ["PyTorch fp32"]
