"""Contenders take turns; what breaks one is noted, and the figures are those of the rest."""

from dataclasses import replace

import pytest

from benchmarks.gpu_suite import network
from benchmarks.gpu_suite.agreement import Agreement
from benchmarks.gpu_suite.ceilings import CeilingsReport
from benchmarks.gpu_suite.contenders import Contender, Entry, Race, eager, exported
from benchmarks.gpu_suite.context import Context, NotRunError
from benchmarks.gpu_suite.network import NetworkReport, NetworkTime, refuse_strangers, run_network
from benchmarks.gpu_suite.opened import Opened
from benchmarks.gpu_suite.rounds import Spread
from benchmarks.harness.report_file import read_report, write_report
from refinemask.files import FailedCheckError
from tests.benchmarks.gpu_suite.conftest import MakeContext

MILLISECONDS = Spread(q1=1.0, median=2.0, q3=3.0, n=9)
TIME = NetworkTime(
    network="refinemask",
    contender="compiled fp16",
    batch=1,
    crowd="many",
    detections=100.0,
    device_ms=MILLISECONDS,
    wall_ms=MILLISECONDS,
    enqueue_ms=None,
    memory_bytes=1 << 30,
    agreement=None,
)


def open_nothing(entry: Entry) -> Opened:
    raise NotRunError("it is not installed")


def open_badly(entry: Entry) -> Opened:
    raise ZeroDivisionError("oops")


def races_of(*contenders: Contender) -> tuple[Race, ...]:
    return (Race(family="refinemask", batch=1, few=True, seconds=1, contenders=contenders),)


def not_done(context: Context) -> dict[str, tuple[str, str | None]]:
    return {each.name: (each.status, each.reason) for each in context.outcomes if each.status != "done"}


def test_contenders_that_break_leave_the_others(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Contender(name="broken", open=open_badly), Contender(name="absent", open=open_nothing)
    monkeypatch.setattr(network, "races", lambda _: races_of(eager("fp32"), *broken, exported("fp32", record=False)))
    context = make_context()
    report = run_network(context)
    assert not_done(context) == {
        ": open broken, RefineMask tiny, batch 1": ("failed", "ZeroDivisionError: oops"),
        ": open absent, RefineMask tiny, batch 1": ("not run", "it is not installed"),
    }
    assert [(time.contender, time.crowd) for time in report.times] == [
        ("eager fp32", "many"),
        ("exported graph fp32", "many"),
        ("eager fp32", "few"),
        ("exported graph fp32", "few"),
    ]
    assert all(time.agreement is not None and time.agreement.matched == 1 for time in report.times)
    assert report.find("exported graph fp32", crowd="few") == report.times[3]
    assert report.times[0].enqueue_ms is None
    assert report.times[1].enqueue_ms is not None
    assert report.operations["refinemask"] > 1e8
    assert context.report(NetworkReport) == report


def test_every_race_of_a_cpu_is_measured(make_context: MakeContext) -> None:
    context = make_context()
    report = run_network(context)
    assert all(reason and reason.endswith("only with --part") for _, reason in not_done(context).values())
    assert {(time.network, time.batch) for time in report.times} == {
        ("refinemask", 1),
        ("refinemask", 2),
        ("mask-rcnn", 1),
    }
    assert set(report.operations) == {"refinemask", "mask-rcnn"}


def test_without_any_contender_the_part_is_not_run(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "races", lambda _: races_of(Contender(name="absent", open=open_nothing)))
    with pytest.raises(NotRunError, match="none of the contenders ran"):
        run_network(make_context())


def test_operations_are_counted_once_for_an_image(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "races", lambda _: races_of(eager("fp32")))
    context = make_context()
    context.reports[CeilingsReport] = CeilingsReport(
        gpu=None, copy_bytes_per_second=1.0, fp32_flops=1.0, tf32_flops=1.0, fp16_flops=1e12
    )
    assert run_network(context).fp16_rate == 1e12
    report = NetworkReport(times=(TIME,), operations={"refinemask": 10**9}, fp16_rate=1e12)
    assert report.product_share(TIME) == pytest.approx(0.5)
    assert report.product_share(replace(TIME, batch=2)) == pytest.approx(1.0)
    assert report.product_share(replace(TIME, crowd="few")) is None
    assert replace(report, fp16_rate=None).product_share(TIME) is None


def test_the_report_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("report") / "network.json"
    report = NetworkReport(times=(TIME,), operations={"refinemask": 7}, fp16_rate=None)
    write_report(report, path)
    assert read_report(NetworkReport, path) == report
    assert "compiled fp16 2.00" in report.headline


def test_who_finds_other_detections_is_named() -> None:
    def times(matched: float) -> tuple[NetworkTime, ...]:
        agreement = Agreement(expected=100, found=41, matched=matched, different_cells=None)
        return replace(TIME, contender="eager tf32"), replace(TIME, agreement=agreement)

    report = NetworkReport(times=times(0.9), operations={}, fp16_rate=None)
    refuse_strangers(report)
    with pytest.raises(FailedCheckError) as caught:
        refuse_strangers(replace(report, times=times(0.89)))
    assert str(caught.value) == (
        "compiled fp16, refinemask, batch 1, many: finds 89% of the 100 detections of eager fp32"
    )
