"""Kills at random moments change no figure and leave nothing behind; ``KILLS`` is their number."""

import os

import pytest

from tests.soak.kills import Faults, campaign
from tests.support.processes import needs_proc


@needs_proc
@pytest.mark.slow
def test_runs_that_are_killed_go_on_to_the_same_figures_and_leave_nothing() -> None:
    jobs = campaign(int(os.environ.get("KILLS", "8")), seed=1)
    assert set(jobs) == {"training", "evaluation", "export", "prediction"}
    assert all(job["runs to the end"] for job in jobs.values())
    assert {kind: sum(job[kind] for job in jobs.values()) for kind in Faults.KINDS} == dict.fromkeys(Faults.KINDS, 0)
