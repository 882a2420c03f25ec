"""Every part stands alone, within the time that is given, and its results are written as soon as they exist."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_suite.ceilings import CeilingsReport
from benchmarks.gpu_suite.context import KERNEL_LIBRARY, Context, NotRunError
from benchmarks.gpu_suite.part import Part
from benchmarks.gpu_suite.plan import Plan
from benchmarks.gpu_suite.suite import run_parts, run_suite
from benchmarks.harness.report_file import read_report
from refinemask.files import FailedCheckError, UserError
from tests.benchmarks.gpu_suite.conftest import MakeContext

CEILINGS = CeilingsReport(gpu=None, copy_bytes_per_second=1e9, fp32_flops=1e9, tf32_flops=2e9, fp16_flops=4e9)


@dataclass(frozen=True)
class Words:
    """A report of a part."""

    headline: str


def make_part(name: str, run: Any, **options: Any) -> Part:
    return Part(name=name, run=run, report=Words, **{"seconds": 0, **options})


def outcomes(context: Context) -> dict[str, tuple[str, str | None]]:
    return {each.name: (each.status, each.reason) for each in context.outcomes if not each.name.endswith("preparation")}


def test_a_part_that_breaks_is_noted_and_the_rest_goes_on(
    make_context: MakeContext, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(context: Context) -> Words:
        raise NotRunError("the package tensorrt is not installed")

    def mistaken(context: Context) -> Words:
        raise UserError("a.safetensors: no such file")

    def wrong(context: Context) -> Words:
        raise FailedCheckError("2 of 3 checks passed")

    def breaks(context: Context) -> Words:
        raise ZeroDivisionError("oops")

    context = make_context()
    runs = {"lacks": lacks, "mistaken": mistaken, "wrong": wrong, "breaks": breaks, "works": lambda _: Words("fine")}
    run_parts(context, [make_part(name, run) for name, run in runs.items()])
    assert outcomes(context) == {
        "lacks": ("not run", "the package tensorrt is not installed"),
        "mistaken": ("not run", "a.safetensors: no such file"),
        "wrong": ("failed", "2 of 3 checks passed"),
        "breaks": ("failed", "ZeroDivisionError: oops"),
        "works": ("done", None),
    }
    broken = next(each for each in context.outcomes if each.name == "breaks")
    assert 'raise ZeroDivisionError("oops")' in "\n".join(broken.trace)
    assert context.report(Words) == Words("fine")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(runs)
    assert lines[-1].startswith("[works] 0.0 s, ")
    assert lines[-1].endswith(" s left: fine")


def test_a_step_that_breaks_leaves_its_part_going(make_context: MakeContext) -> None:
    def run(context: Context) -> Words:
        answers = [context.attempt(name, action) for name, action in (("bad", lambda: 1 // 0), ("good", lambda: 7))]
        return Words(str(answers))

    context = make_context()
    run_parts(context, [make_part("part", run)])
    assert outcomes(context) == {
        "part: bad": ("failed", "ZeroDivisionError: integer division or modulo by zero"),
        "part: good": ("done", None),
        "part": ("done", None),
    }
    assert context.report(Words) == Words("[None, 7]")


def test_reasons_name_files_of_the_scratch_directory_without_it(make_context: MakeContext) -> None:
    context = make_context()

    def refuse() -> None:
        raise UserError(f"{context.scratch / 'r50.pt2'}: not written")

    context.attempt("compile", refuse)
    assert context.outcomes[-1].reason == "r50.pt2: not written"


def test_what_does_not_fit_the_time_is_listed(make_context: MakeContext) -> None:
    context = make_context(minutes=0.5)
    long = make_part("long", lambda _: pytest.fail("ran"), seconds=60)
    run_parts(context, [long, make_part("short", lambda _: Words("ran"), seconds=5)])
    status, reason = outcomes(context)["long"]
    assert status == "not run"
    assert reason is not None
    assert reason.endswith(" s were left; it needs 60 s")
    assert outcomes(context)["short"] == ("done", None)


def test_only_the_parts_that_were_asked_for_run(make_context: MakeContext) -> None:
    context = make_context(parts=("second",))
    parts = [make_part("first", lambda _: pytest.fail("ran")), make_part("second", lambda _: Words("ran"))]
    run_parts(context, parts)
    assert set(outcomes(context)) == {"second"}


def begin_sleep(context: Context) -> None:
    context.begin("sleep", time.sleep, 2)


def test_jobs_have_ended_before_anything_is_timed(make_context: MakeContext) -> None:
    seen: dict[str, bool] = {}

    def look(context: Context) -> Words:
        seen[context.part] = context._jobs["sleep"]._call.done()
        return Words("")

    checked = make_part("checked", look, prepare=begin_sleep, timed=False)
    run_parts(make_context(), [checked, make_part("timed", look)])
    assert seen == {"checked": False, "timed": True}


def test_what_is_timed_is_prepared_first(make_context: MakeContext) -> None:
    order: list[str] = []
    parts = [
        make_part(
            name, lambda _: Words(""), prepare=lambda context: order.append(context.part), timed=name != "checked"
        )
        for name in ("checked", "first", "second")
    ]
    run_parts(make_context(), parts)
    assert order == ["first", "second", "checked"]


def test_a_job_s_answer_and_its_error(make_context: MakeContext) -> None:
    context = make_context()
    context.begin("pid", os.getpid)
    context.begin("absent", os.listdir, "/absent")
    context.wait_for_jobs()
    context.wait_for_jobs()
    assert [(each.name, each.status) for each in context.outcomes] == [("job: pid", "done"), ("job: absent", "failed")]
    assert "os.listdir" in context.outcomes[1].trace[-1] or "absent" in "".join(context.outcomes[1].trace)
    assert context.answer("pid") != os.getpid()
    with pytest.raises(FileNotFoundError):
        context.answer("absent")
    with pytest.raises(NotRunError, match=r"^never: not begun$"):
        context.answer("never")


def test_a_job_that_takes_too_long_is_ended(make_context: MakeContext) -> None:
    context = make_context(minutes=0.05)
    context.begin("sleep", time.sleep, 600)
    context.wait_for_jobs()
    for _ in range(2):
        with pytest.raises(NotRunError, match=r"^sleep: not done when 60% of the time was over$"):
            context.answer("sleep")
    context.end_jobs()


def test_results_are_written_as_soon_as_they_exist(tmp_path: Path) -> None:
    output = tmp_path / "out"

    def look(context: Context) -> CeilingsReport:
        assert json.loads((output / "gpu_suite.json").read_text())["ceilings"]["copy_bytes_per_second"] == 1e9
        raise ZeroDivisionError

    def partial(context: Context) -> CeilingsReport:
        context.keep(CEILINGS)
        return look(context)

    part = Part(name="ceilings", run=partial, report=CeilingsReport, seconds=0)
    report = run_suite(Plan(output=output, device="cpu", tiny=True), [part])
    assert [each.name for each in report.failed] == ["ceilings"]
    assert report.ceilings == CEILINGS
    assert [path.name for path in output.iterdir()] == ["gpu_suite.json"]
    assert read_report(type(report), output / "gpu_suite.json").ceilings == CEILINGS


def test_kernels_of_a_cpu_are_not_run(make_context: MakeContext) -> None:
    with pytest.raises(NotRunError, match=r"^the kernels need a CUDA device$"):
        make_context().kernels()


def test_kernels_wait_for_their_library(make_context: MakeContext) -> None:
    context = make_context()
    context.plan = Plan(output=context.plan.output, device="cuda", tiny=True)
    context.begin(KERNEL_LIBRARY, fail_to_build)
    with pytest.raises(UserError, match=r"^nvcc not found$"):
        context.kernels()


def fail_to_build() -> None:
    raise UserError("nvcc not found")
