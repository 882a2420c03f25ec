"""Breaking down several engines on one photograph."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.breakdown.operator_times import Inputs, time_operators
from benchmarks.breakdown.report import BreakdownReport, EngineBreakdown, Settings
from benchmarks.harness.load import ForeignLoad
from benchmarks.harness.pipeline import read_input
from benchmarks.harness.provenance import provenance
from benchmarks.harness.spec import EngineSpec
from refinemask.contract import INPUTS
from refinemask.files import UserError


def break_down(engines: Sequence[str], image: Path, settings: Settings) -> BreakdownReport:
    """Time the operators of one engine after the other.

    Args:
        engines: as :class:`benchmarks.harness.spec.EngineSpec` reads them.
        image: the photograph.
        settings: how to time.

    Raises:
        UserError: an engine or the image is wrong, or there is no engine.
    """
    if not engines:
        raise UserError("nothing to break down; expected one engine at least")
    batch = read_input(image, settings.canvas)
    inputs: Inputs = {name: getattr(batch, name) for name in INPUTS}
    specs = [EngineSpec.parse(text) for text in engines]
    load = ForeignLoad([os.getpid()])
    times = [
        time_operators(spec, inputs, threads=settings.threads, warmup=settings.warmup, rounds=settings.rounds)
        for spec in specs
    ]
    return BreakdownReport(
        provenance=provenance(spec.path for spec in specs),
        settings=settings,
        image=image.name,
        foreign_load=load.fraction(),
        engines=tuple(EngineBreakdown.of(str(spec), each) for spec, each in zip(specs, times, strict=True)),
    )
