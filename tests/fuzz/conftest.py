"""Fuzzers of what reads files from outside: many damaged inputs, each read or refused in one line.

The default run is short. ``FUZZ=100 python -m pytest tests/fuzz -m ''`` takes a hundred times as many inputs, and
``FUZZ_REPORT=fuzz.json`` writes how many there were for each reader, and what became of them.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refinemask.files import atomic_write
from tests.support.mutations import refusals

Seeds = Callable[[int], Iterator[np.random.Generator]]

OUTCOMES = "inputs", "accepted", "refused", "failed"
"""Counts of a reader: its inputs, those that it took, those that it refused, and the tests that found a fault."""
_readers: dict[str, dict[str, int]] = {}


@pytest.fixture
def seeds(record_property: Callable[[str, object], None]) -> Iterator[Seeds]:
    """One generator for each input; the number asked for is multiplied by the environment variable ``FUZZ``.

    An input is refused if :func:`tests.support.mutations.refusal` said so before the next one is asked for.
    """
    factor = int(os.environ.get("FUZZ", "1"))
    inputs = refused = 0

    def generators(count: int) -> Iterator[np.random.Generator]:
        nonlocal inputs, refused
        for seed in range(count * factor):
            inputs += 1
            before = refusals()
            try:
                yield np.random.default_rng(seed)
            finally:
                refused += refusals() > before

    yield generators
    for name, value in zip(OUTCOMES, (inputs, inputs - refused, refused), strict=False):
        record_property(name, value)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a test's counts to those of its reader, whose name is that of the file; in the process that reports."""
    file = Path(report.nodeid.partition("::")[0])
    if file.parent.name != "fuzz":
        return
    reader = file.stem.removeprefix("test_")
    counts = _readers.setdefault(reader, dict.fromkeys(OUTCOMES, 0))
    counts["failed"] += report.failed
    if report.when == "teardown":
        for name, value in report.user_properties:
            counts[name] += int(str(value))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table, if it is asked for."""
    path = os.environ.get("FUZZ_REPORT")
    if not path or hasattr(session.config, "workerinput"):
        return
    from benchmarks.harness.provenance import provenance

    report: dict[str, Any] = {"provenance": asdict(provenance()), **dict(sorted(_readers.items()))}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
