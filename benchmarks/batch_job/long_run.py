"""One job over many images, and the memory of its processes meanwhile."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.batch_job.command import Job, resident_mib, started
from benchmarks.batch_job.material import write_list
from benchmarks.batch_job.report import Held, LongRunReport


def measure_long_run(
    model: Path, *, count: int, actors: int, shard_size: int, threads: int, seconds_between: float
) -> LongRunReport:
    """Run a job of ``count`` images, and look at its processes every so many seconds."""
    with TemporaryDirectory(prefix="refinemask-batch-") as name:
        folder = Path(name)
        write_list(folder / "images.txt", count)
        job = Job(
            images=folder / "images.txt",
            model=model,
            folder=folder / "job",
            actors=actors,
            threads=threads,
            shard_size=shard_size,
        )
        looks: list[Mapping[str, int]] = []
        begun = time.perf_counter()
        with started(job) as process:
            while process.poll() is None:
                looks.append(resident_mib(process.pid))
                time.sleep(seconds_between)
        seconds = time.perf_counter() - begun
        manifest = json.loads((job.folder / "manifest.json").read_text())
        shards = list((job.folder / "results").glob("part-*.parquet"))
        size = sum(path.stat().st_size for path in shards)
    return LongRunReport(
        images=manifest["images"],
        actors=actors,
        shard_size=shard_size,
        seconds=round(seconds, 1),
        images_per_second=round(count / seconds, 2),
        megabytes_out=round(size / 1e6, 2),
        shards=len(shards),
        failed=manifest["failed"],
        seconds_between_samples=seconds_between,
        memory=held(looks),
    )


def held(looks: Sequence[Mapping[str, int]]) -> dict[str, Held]:
    """The memory of each kind of process over all looks at which it was there."""
    kinds = dict.fromkeys(kind for look in looks for kind in look)
    return {kind: _held([look[kind] for look in looks if look.get(kind)]) for kind in kinds}


def _held(samples: Sequence[int]) -> Held:
    third = max(1, len(samples) // 3)
    middle, last = samples[-2 * third : -third] or samples, samples[-third:]
    return Held(mib=tuple(samples), growth_mib=round(median(last) - median(middle), 1))
