"""Images per second from files and a video to run lengths: the pipeline against one image at a time.

python -m benchmarks.streaming
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.harness.child import call_in_child
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report_file import write_report
from benchmarks.harness.spec import EngineSpec, require_new_output
from benchmarks.harness.tables import print_tables
from benchmarks.streaming.material import write_jpegs
from benchmarks.streaming.real_engines import measure_engine, measure_evaluation
from benchmarks.streaming.report import EngineReport, StreamingReport, VideoReport, WaitingReport
from benchmarks.streaming.simulated import given_objects, measure_host, measure_waiting
from benchmarks.streaming.table import tables
from benchmarks.streaming.video import measure_video
from refinemask.bundled import NUCLEI, PHOTOS
from refinemask.command import execute
from refinemask.data.coco import read_coco
from refinemask.data.images import read_image
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.spelling import OptionalOutput, Size

EngineNames = Annotated[tuple[str, ...], tyro.conf.arg(metavar="ENGINE…")]
HOST_IMAGES = 20
"""Images whose time on one core is measured in each round."""
HOST_SECONDS = 0.01
"""About what the host needs for an image, which bounds the images of a turn from above."""
VIDEO_MILLISECONDS = 4.0
"""Time of a frame of the video on the device."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Let the pipeline and one image at a time take turns, and check that they give the same."""

    milliseconds: tuple[float, ...] = (4.0, 20.0, 100.0)
    """Milliseconds of an image on the device that the waiting detector waits for."""
    size: Size = (480, 640)
    """Height and width in pixels of the waiting detector's images."""
    masks: int = 10
    """Objects that the waiting detector finds in each image."""
    rounds: int = 5
    """Times that each way runs."""
    turn_seconds: float = 2.0
    """Seconds that a turn should take, which sets its number of images."""
    video_seconds: float = 60.0
    """Length of the video that is made and streamed; 0 leaves it out."""
    video_size: Size = (720, 1280)
    """Height and width in pixels of the video."""
    nuclei: EngineNames = ()
    """Engines, PATH[@BACKEND[:PRECISION]] each, to run on the bundled nuclei images."""
    photos: EngineNames = ()
    """Engines to run on the bundled photographs."""
    evaluated: int = 0
    """Images of an evaluation by the first engine of --nuclei; 0 leaves it out."""
    threads: int = 2
    """CPU threads of each engine."""
    output: OptionalOutput = None
    """JSON file for the result."""

    def __post_init__(self) -> None:
        require_at_least(1, masks=self.masks, rounds=self.rounds, threads=self.threads)
        require_at_least(0, evaluated=self.evaluated)
        if min(self.milliseconds, default=1) <= 0 or self.turn_seconds <= 0 or self.video_seconds < 0:
            raise UserError("--milliseconds, --turn-seconds and --video-seconds are times; expected more than 0")
        if self.evaluated and not self.nuclei:
            raise UserError("--evaluated needs an engine; name one of the bundled nuclei's (--nuclei)")

    def images(self, milliseconds: float) -> int:
        """Images of a turn, for a device that takes so long for each."""
        return max(1, round(self.turn_seconds / max(HOST_SECONDS, milliseconds / 1e3)))


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the tables; exit code 1 if the pipeline gives anything else than one by one."""
    return execute(Args, _measure, args, description=__doc__)


def _measure(args: Args) -> None:
    require_new_output(args.output, (*args.nuclei, *args.photos))
    report = measure(args)
    write_report(report, args.output)
    print_tables(tables(report), report.foreign_load)


def measure(args: Args) -> StreamingReport:
    """Measure all parts that are asked for.

    Raises:
        UserError: an engine is wrong, or no video can be made here.
        FailedCheckError: the pipeline's results are not those of one image after the other.
    """
    found = given_objects(args.masks, *args.size)
    waiting: list[WaitingReport] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_jpegs(Path(folder), max(HOST_IMAGES, *map(args.images, args.milliseconds)), *args.size)
        for milliseconds in args.milliseconds:
            waiting += measure_waiting(milliseconds, paths[: args.images(milliseconds)], found, args.rounds)
        host = measure_host(paths[:HOST_IMAGES], found, args.rounds)
    specs = [EngineSpec.parse(text) for text in (*args.nuclei, *args.photos)]
    return StreamingReport(
        provenance=provenance(spec.path for spec in specs),
        rounds=args.rounds,
        threads=args.threads,
        masks=args.masks,
        waiting=tuple(waiting),
        host=host,
        video=_video(args) if args.video_seconds else None,
        engines=(*_engines(args.nuclei, _nuclei(), args), *_engines(args.photos, _photos(), args)),
        evaluation=_evaluation(args) if args.evaluated else None,
    )


def _video(args: Args) -> VideoReport:
    found = given_objects(args.masks, *args.video_size)
    # In a process of its own, whose memory is that of the video alone.
    return call_in_child(None, measure_video, args.video_seconds, VIDEO_MILLISECONDS, args.video_size, found)


def _engines(names: Sequence[str], paths: Sequence[Path], args: Args) -> list[EngineReport]:
    options = {"rounds": args.rounds, "threads": args.threads}
    return [
        call_in_child(None, measure_engine, EngineSpec.parse(name), paths, turn_seconds=args.turn_seconds, **options)
        for name in names
    ]


def _evaluation(args: Args) -> EngineReport:
    spec = EngineSpec.parse(args.nuclei[0])
    return call_in_child(None, measure_evaluation, spec, args.evaluated, rounds=args.rounds, threads=args.threads)


def _nuclei() -> list[Path]:
    dataset = read_coco(NUCLEI / "annotations" / "instances_val.json")
    return [NUCLEI / "images" / image.file_name for image in dataset.images]


def _photos() -> list[Path]:
    paths = sorted((PHOTOS / "images").iterdir())
    # Files that were exported for one size, such as 800x1344, take no upright picture.
    return [path for path in paths if (shape := read_image(path).shape)[0] < shape[1]]


if __name__ == "__main__":
    raise SystemExit(main())
