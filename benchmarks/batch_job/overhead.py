"""The plain predictor and a batch job in turns over the same images."""

import random
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.batch_job.command import Job, started
from benchmarks.batch_job.material import write_list
from benchmarks.batch_job.report import OverheadReport, Speed
from benchmarks.harness.child import call_in_child
from benchmarks.harness.summary import paired_ratio, quartiles


def plain_milliseconds(model: Path, images: Sequence[Path], threads: int, skipped: int) -> float:
    """Time per image of the plain predictor in this process, after so many images."""
    import engines
    from refinemask.sources.files import Files
    from refinemask.sources.images import ImageFile
    from refinemask.streaming.plan import StreamOptions
    from refinemask.streaming.stream import stream

    engine = engines.load(model, threads=threads)
    files = Files([ImageFile(path, PurePosixPath(f"{number}")) for number, path in enumerate(images)])
    start = 0.0
    # As many threads beside the engine's as a worker process has.
    for number, result in enumerate(stream(engine, files, StreamOptions(workers=max(1, threads // 2))), start=1):
        if result.error is not None:
            raise result.error
        if number == skipped:
            start = time.perf_counter()
    return 1000 * (time.perf_counter() - start) / (len(images) - skipped)


def job_milliseconds(job: Job, images: int) -> tuple[float, float]:
    """Time per image of a job after its first shard, and seconds from its start to that."""
    begun = time.time()
    with started(job):
        pass
    written = sorted(path.stat().st_mtime for path in (job.folder / "results").glob("part-*.parquet"))
    return 1000 * (written[-1] - written[0]) / (images - job.shard_size), written[0] - begun


def measure_overhead(model: Path, *, count: int, shard_size: int, threads: int, rounds: int) -> OverheadReport:
    """Measure ``rounds`` rounds of ``count`` images each."""
    shuffle = random.Random(0)
    plain, ours, firsts = [], [], []
    with TemporaryDirectory(prefix="refinemask-batch-") as name:
        folder = Path(name)
        images = write_list(folder / "images.txt", count)
        for number in range(rounds):
            for way in shuffle.sample(["plain", "job"], 2):
                if way == "plain":
                    plain.append(call_in_child(None, plain_milliseconds, model, images, threads, shard_size))
                    continue
                job = Job(
                    images=folder / "images.txt",
                    model=model,
                    folder=folder / f"job{number}",
                    actors=1,
                    threads=threads,
                    shard_size=shard_size,
                )
                milliseconds, first = job_milliseconds(job, count)
                ours.append(milliseconds)
                firsts.append(first)
            print(f"round {number + 1}: plain {plain[-1]:.1f} ms an image, job {ours[-1]:.1f} ms", flush=True)
    print(f"overhead: {median(ours) - median(plain):.1f} ms an image")
    return OverheadReport(
        images=count,
        shard_size=shard_size,
        plain=Speed(milliseconds=quartiles(plain), samples=tuple(round(each, 2) for each in plain)),
        job=Speed(milliseconds=quartiles(ours), samples=tuple(round(each, 2) for each in ours)),
        share=paired_ratio(plain, ours),
        seconds_to_first_shard=quartiles(firsts),
    )
