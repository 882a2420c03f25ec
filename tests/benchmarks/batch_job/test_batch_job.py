"""The benchmark of batch jobs runs real jobs, and counts what they did."""

from pathlib import Path

import pytest

pytest.importorskip("ray")

from benchmarks.batch_job.long_run import held, measure_long_run
from benchmarks.batch_job.overhead import measure_overhead
from benchmarks.harness.report_file import read_report, write_report
from refinemask.files import UserError
from tests.support.processes import needs_proc


def test_growth_is_that_of_the_last_third_over_the_middle_one() -> None:
    looks = [{"driver": size} for size in (1, 9, 5, 6, 7, 7, 8, 10, 9)] + [{"driver": 0, "actor": 3}]
    found = held(looks)
    assert found["driver"].mib == (1, 9, 5, 6, 7, 7, 8, 10, 9)
    assert found["driver"].growth_mib == 2.0
    assert found["actor"].growth_mib == 0.0


@needs_proc
@pytest.mark.slow
def test_a_long_run_counts_its_images_and_sees_every_process(tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    run = measure_long_run(tiny_files[1], count=100, actors=2, shard_size=20, threads=1, seconds_between=0.2)
    assert (run.images, run.failed, run.shards) == (100, 0, 5)
    assert run.megabytes_out > 0
    assert set(run.memory) == {"driver", "actor", "worker process", "raylet", "gcs"}
    assert all(min(each.mib) > 0 for each in run.memory.values())
    write_report(run, tmp_path / "run.json")
    assert read_report(type(run), tmp_path / "run.json") == run


@needs_proc
@pytest.mark.slow
def test_both_ways_take_their_turns(tiny_files: tuple[Path, Path]) -> None:
    found = measure_overhead(tiny_files[1], count=60, shard_size=20, threads=1, rounds=2)
    assert len(found.plain.samples) == len(found.job.samples) == found.share.n == 2
    assert min(*found.plain.samples, *found.job.samples) > 0


@needs_proc
@pytest.mark.slow
def test_a_job_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the job ended with exit code 2: error: .*no\.onnx"):
        measure_long_run(tmp_path / "no.onnx", count=4, actors=1, shard_size=2, threads=1, seconds_between=0.2)
