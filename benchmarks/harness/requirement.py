"""Requirements of a comparison, such as ``ΔAP >= -0.2``, judged by the worse end of a figure's interval.

A figure that is not there, or that has no interval where one is needed, does not meet its requirement.
"""

import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, cast

import tyro

from benchmarks.harness.report import (
    AccuracyDetail,
    ComparisonReport,
    EngineReport,
    Estimate,
    OtherReport,
    Outcome,
)
from benchmarks.harness.spec import parse_spec, run_engines
from benchmarks.harness.summary import Ratio
from refinemask.exit_codes import REQUIREMENT_NOT_MET, printable
from refinemask.files import UserError
from refinemask.nearest import nearest

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt
}  # fmt: skip
Requirements = Annotated[
    tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="require", metavar="REQUIREMENT")
]
"""An option that may be given several times."""
NO_ACCURACY = "has no such accuracy: no object to find, or none was measured"
NO_RESAMPLES = "has no interval: measure with --resamples 1000"
FEW_ROUNDS = "has no interval: fewer than six rounds bound none; measure more images or --rounds"


@dataclass(frozen=True)
class Found:
    """A figure of an engine, with its interval if it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None
    unknown: str | None = None
    """Why the figure cannot be judged; None if it can."""


@dataclass(frozen=True)
class Figure:
    """What a requirement can be about."""

    of: Callable[[EngineReport], Found]
    """Function of an engine to the figure."""
    accuracy: bool = False
    """Whether it needs annotations, and results have it, too; the others are of speed and memory."""
    relative: bool = False
    """Whether it compares an engine with the first one."""


def _average_precision(kind: str) -> Figure:
    return Figure(lambda engine: _estimate(engine, kind, lambda detail: detail.ap), accuracy=True)


def _change(kind: str) -> Figure:
    return Figure(lambda engine: _estimate(engine, kind, lambda detail: detail.change), accuracy=True, relative=True)


def _estimate(
    engine: EngineReport | OtherReport, kind: str, part: Callable[[AccuracyDetail], Mapping[str, Estimate]]
) -> Found:
    """A figure in points of a hundred, as in the table."""
    value = (engine.accuracy or {}).get(kind, {}).get("AP", -1.0)
    if value < 0 or engine.detail is None:
        return Found(None, unknown=NO_ACCURACY)
    estimate = part(engine.detail).get(kind)
    if estimate is None:
        return Found(None, unknown=NO_RESAMPLES)
    return Found(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


def _ratio(ratio: Ratio) -> Found:
    return Found(ratio.p50, ratio.low, ratio.high, FEW_ROUNDS if ratio.low is None else None)


def _latency(percentile: str, phase: str = "engine") -> Figure:
    return Figure(lambda engine: Found(getattr(engine.latency_ms[phase], percentile)))


def _memory(mebibytes: float | None) -> Found:
    return Found(mebibytes, unknown="is not known on this system" if mebibytes is None else None)


FIGURES: Mapping[str, Figure] = {
    "AP": _average_precision("segm"),
    "box_ap": _average_precision("bbox"),
    "boundary_ap": _average_precision("boundary"),
    "ΔAP": _change("segm"),
    "Δbox_ap": _change("bbox"),
    "Δboundary_ap": _change("boundary"),
    "speedup": Figure(lambda engine: _ratio(engine.speedup), relative=True),
    "speedup_end_to_end": Figure(lambda engine: _ratio(engine.speedup_end_to_end), relative=True),
    "fps": Figure(lambda engine: Found(engine.fps)),
    "fps_end_to_end": Figure(lambda engine: Found(engine.fps_end_to_end)),
    "latency_ms": _latency("p50"),
    "latency_end_to_end_ms": _latency("p50", "total"),
    **{f"{percentile}_ms": _latency(percentile) for percentile in ("p50", "p90", "p95", "p99")},
    "peak_mib": Figure(lambda engine: _memory(engine.peak_memory_mib)),
    "device_mib": Figure(lambda engine: _memory(engine.device_memory_mib)),
}
"""Figures by name. Δ may be written delta, AP mask_ap, and units be left out. Capitals,
spaces, - and _ do not matter."""


def _plain(name: str) -> str:
    """A figure's name as it is compared, whatever its spelling."""
    letters = re.sub(r"[\s_-]", "", name.replace("∆", "Δ").casefold().replace("δ", "delta"))
    return re.sub("mask|ms$|mib$", "", letters)


PLAIN = {_plain(name): name for name in FIGURES}


@dataclass(frozen=True)
class Requirement:
    """``FIGURE[ENGINE] OPERATOR NUMBER``, of which the engine may be left out."""

    text: str
    """As it was written."""
    figure: str
    """A key of :data:`FIGURES`."""
    operator: str
    """A key of :data:`OPERATORS`."""
    number: float
    engines: tuple[int, ...]
    """Indices of what it is for: of the report's engines, and behind them its others."""

    def judge(self, engine: EngineReport | OtherReport) -> Outcome:
        """Compare the worse end of the figure's interval, or the figure if it has none by nature, with the number."""
        # Of others there are requirements of accuracy alone, for which both reports have the same fields.
        found = FIGURES[self.figure].of(cast(EngineReport, engine))
        outcome = Outcome(
            requirement=self.text, engine=engine.engine, met=False, value=found.value, judged=None, reason=found.unknown
        )
        if found.unknown is not None:
            return outcome
        worse = found.low if self.operator.startswith(">") else found.high
        judged = found.value if worse is None else worse
        met = judged is not None and OPERATORS[self.operator](judged, self.number)
        return replace(outcome, judged=judged, met=met)


def parse_requirements(
    texts: Sequence[str], engines: Sequence[str], *, accuracy: bool = True, speed: bool = True
) -> list[Requirement]:
    """Read requirements before anything is measured.

    Args:
        texts: such as ``ΔAP >= -0.2`` or ``speedup[openvino:bf16] >= 1.5``. Average precisions and their changes are
            in points of a hundred.
        engines: engines and results files as on the command line; the first is the baseline. A requirement without an
            engine is for each of them that is run, but for the baseline if the figure is relative to it.
        accuracy: whether accuracy is measured.
        speed: whether speed and memory are measured.

    Raises:
        UserError: a requirement cannot be read, is about what is not measured, or is for no engine.
    """
    measured = [name for name, figure in FIGURES.items() if (accuracy if figure.accuracy else speed)]
    return [_parse(text, engines, measured) for text in texts]


def _parse(text: str, engines: Sequence[str], measured: Sequence[str]) -> Requirement:
    match = re.fullmatch(
        r"\s*([^][<>=≥≤]+?)\s*(?:\[([^][]+)\])?\s*(>=|<=|≥|≤|>|<)\s*([+−-]?(?:\d+\.?\d*|\.\d+))\s*", text
    )
    if match is None:
        expected = "FIGURE >= NUMBER, FIGURE[ENGINE] >= NUMBER, or the same with <=, > or <, such as 'ΔAP >= -0.2'"
        raise UserError(f"--require {text!r}: expected {expected}")
    name = PLAIN.get(_plain(match[1]))
    if name is None or name not in measured:
        what = "is not measured by this command" if name else f"is no figure{nearest(match[1], measured)}"
        raise UserError(f"--require {text!r}: {match[1]!r} {what}; expected one of {', '.join(measured)}")
    symbol = match[3].replace("≥", ">=").replace("≤", "<=")
    try:
        chosen = _choose(match[2], engines, FIGURES[name])
    except ValueError as error:
        raise UserError(f"--require {text!r}: {error}") from error
    return Requirement(text, name, symbol, float(match[4].replace("−", "-")), chosen)


def _choose(wanted: str | None, engines: Sequence[str], figure: Figure) -> tuple[int, ...]:
    """Indices of what a requirement is for; one at least.

    Raises:
        ValueError: there is none.
    """
    # As in a report: what is not run stands behind.
    run = run_engines(engines)
    ordered = [*run, *(engine for engine in engines if engine not in run)]
    chosen = range(len(run)) if wanted is None else _named(wanted.strip(), ordered)
    if not chosen:
        raise ValueError(f"no engine is {wanted!r}; expected one of {', '.join(ordered)}")
    able = [number for number in chosen if figure.accuracy or number < len(run)]
    if not able:
        raise ValueError(f"{ordered[chosen[0]]} is a results file, of which no speed is measured; require its accuracy")
    others = [number for number in able if number > 0 or not figure.relative]
    if not others:
        remedy = "name a second engine to compare" if len(ordered) == 1 else "require it of another engine"
        raise ValueError(f"the figure compares engines with the first, {ordered[0]}; {remedy}")
    return tuple(others)


def _named(wanted: str, engines: Sequence[str]) -> list[int]:
    """Indices of the engines of a name: a whole one, ``PATH@BACKEND:PRECISION``, or else any part of it."""
    wholes, parts = [], []
    for number, engine in enumerate(engines):
        path, options = parse_spec(engine).path, engine.rpartition("@")[2] if "@" in Path(engine).name else ""
        if wanted in (engine, Path(engine).name, str(parse_spec(engine))):
            wholes.append(number)
        if wanted and wanted in (path.name, path.stem, options, *options.split(":")):
            parts.append(number)
    return wholes or parts


def judge(report: ComparisonReport, requirements: Sequence[Requirement]) -> ComparisonReport:
    """The report with what came of the requirements; the same if there are none."""
    judged: tuple[EngineReport | OtherReport, ...] = (*report.engines, *(report.others or ()))
    outcomes = tuple(each.judge(judged[number]) for each in requirements for number in each.engines)
    return replace(report, requirements=outcomes or None)


def exit_code(report: ComparisonReport) -> int:
    """Name each requirement that was not met on standard error; 3 if there is one, else 0."""
    failed = [outcome for outcome in report.requirements or () if not outcome.met]
    for outcome in failed:
        print(printable(f"not met: {outcome.requirement}: {finding(outcome)}"), file=sys.stderr)
    return REQUIREMENT_NOT_MET if failed else 0


def finding(outcome: Outcome) -> str:
    """What an engine has where a requirement asks for something else, in words."""
    if outcome.judged is None or outcome.value is None:
        return f"{outcome.engine} {outcome.reason}"
    if outcome.judged == outcome.value:
        return f"{outcome.engine} has {outcome.value:.2f}"
    return f"{outcome.engine} has {outcome.value:.2f}, and {outcome.judged:.2f} at the worse end of its 95 % interval"
