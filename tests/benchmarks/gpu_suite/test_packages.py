"""What compiles ahead of time runs here; what does not is told apart."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.gpu_suite import packages
from benchmarks.gpu_suite.__main__ import main
from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.packages import SHIPPED, STEPS, VARIANTS, PackageStep, run_packages
from benchmarks.gpu_suite.parts import PARTS
from benchmarks.gpu_suite.plan import Plan
from refinemask.files import FailedCheckError


@pytest.mark.slow
def test_every_way_runs_on_this_cpu(tmp_path: Path) -> None:
    assert main(Plan(output=tmp_path, device="cpu", tiny=True, parts=("packages",))) == 0
    steps = json.loads((tmp_path / "gpu_suite.json").read_text())["packages"]["steps"]
    assert {(step["variant"], step["step"]) for step in steps} == {
        (v, s) for v in VARIANTS for s in ("compile", *STEPS)
    }
    assert {step["exit_code"] for step in steps} == {0}


def process(**codes: int) -> Callable[..., PackageStep]:
    def answer(variant: str, step: str, target: Path, device: str) -> PackageStep:
        return PackageStep(variant=variant, step=step, exit_code=codes.get(step, 0), output=("Segmentation fault",))

    return answer


def test_a_crash_of_what_is_shipped_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_process", process(load=-11, run=-11))
    context = Context(Plan(output=tmp_path, device="cpu", tiny=True), tmp_path)
    with pytest.raises(FailedCheckError, match=f"{SHIPPED}: load ended with SIGSEGV.*Segmentation fault"):
        run_packages(context)
    report = context.report(packages.PackagesReport)
    assert report is not None
    assert len(report.steps) == len(VARIANTS) * (1 + len(STEPS))


def test_what_was_not_compiled_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_process", process(compile=1))
    context = Context(Plan(output=tmp_path, device="cpu", tiny=True), tmp_path)
    with pytest.raises(FailedCheckError, match="compile ended with exit code 1"):
        run_packages(context)


def test_it_runs_only_where_it_is_asked_for() -> None:
    assert [part.name for part in PARTS if not part.by_default] == ["packages"]
