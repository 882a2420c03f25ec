"""Detect objects in pictures and videos: ``python -m refinemask.predict INPUT… --model MODEL --output FOLDER``."""

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.command import execute
from refinemask.config import with_window
from refinemask.data.images import IMAGE_SUFFIXES
from refinemask.exit_codes import printable
from refinemask.files import UserError
from refinemask.options import require_at_least, require_own_files
from refinemask.prediction import DRAWN_SCORE
from refinemask.sources.source import Source
from refinemask.sources.video_file import VIDEO_SUFFIXES
from refinemask.sources.words import source_of
from refinemask.spelling import (
    Old,
    OptionalFile,
    OptionalName,
    OptionalNames,
    OptionalNumber,
    OptionalOutput,
    OptionalWindow,
)
from refinemask.streaming.plan import StreamOptions
from refinemask.tiling import make_tiling
from refinemask.writers.annotated_video import AnnotatedVideo
from refinemask.writers.coco_polygons import CocoPolygons
from refinemask.writers.coco_results import CocoResults
from refinemask.writers.instance_masks import InstanceMasks
from refinemask.writers.json_lines import JsonLines
from refinemask.writers.labelme import Labelme
from refinemask.writers.write import Written, write_predictions
from refinemask.writers.writer import Writer

STANDARD = "-"
"""Name of standard input and output."""
RESULTS, POLYGONS = "results.json", "polygons.json"
SHOWN_REASONS = 20
"""Largest number of failed images whose reason is printed."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Draw what a model detects in pictures and videos, and write it as a COCO results file with run-length encoded
    masks, as lines of JSON, as masks or as polygons."""

    images: Annotated[tuple[str | Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT…")] = ()
    """Images, videos, folders of images, patterns such as 'a/**/*.jpg', the number of a camera, the URL of a stream,
    or - for one image on standard input."""
    model: Path
    """A checkpoint (.safetensors) or an exported file of any engine (.pt2, .onnx, .engine)."""
    output: OptionalOutput = None
    """The folder for all outputs: a drawing per image (PNG) and video (MP4), results.json, and what is asked for below.
    Only --json-lines does without it."""
    list: OptionalFile = None
    """A text file with the path of an image or video in each line, or - for standard input."""
    recursive: bool = False
    """Search the folders within the given ones, too."""
    every: int = 1
    """Take only every so many frames of a video."""
    max_frames: OptionalNumber = None
    """Take at most so many frames of each video."""
    draw: bool = True
    """Draw; --no-draw is faster, and does without the extra draw."""
    draw_score: float = DRAWN_SCORE
    """Draw only detections of at least this score; the other outputs have all."""
    json_lines: OptionalFile = None
    """Write a line of JSON for each image as soon as it is done into this file, or with - to standard output."""
    masks: bool = False
    """Write a PNG of 16 bits for each class of an image, whose pixels are the numbers of the objects, to masks/ in the
    folder."""
    polygons: bool = False
    """Write a COCO data set with polygons, for tools of annotation, as polygons.json."""
    labelme: bool = False
    """Write a labelme file for each image to labelme/ in the folder."""
    classes: OptionalNames = None
    """Names of the classes to look for; all if not given."""
    detections: OptionalNumber = None
    """Largest number of detections per image, 1 to 3840; if not given, the file's, and only a checkpoint has more."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1; if not given, the file's, and only a checkpoint has a lower one."""
    tile: OptionalNumber = None
    """Predict images that are larger in tiles of this side in pixels, best about the size of the training's images."""
    overlap: OptionalNumber = None
    """Pixels that neighbouring tiles share, best more than an object's size; if not given, an eighth of the tile."""
    batch_size: OptionalNumber = None
    """Images, or tiles, that go through the network together; if not given, what the engine prefers."""
    workers: OptionalNumber = None
    """Threads that decode, and that resize, paste and draw; if not given, by the processors of this machine."""
    backend: OptionalName = None
    """The engine that runs the file, such as openvino for .onnx; if not given, by the file's ending."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: OptionalName = None
    """The file's own if not given; else fp32, tf32, fp16 or bf16, as far as the file and the engine have it, and for an
    int8 file int8 or, in OpenVINO, int8+fp32 or int8+bf16."""
    threads: OptionalNumber = None
    """CPU threads of the engine; if not given, the engine chooses."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; if not given, the model's."""


def main(args: Args | None = None) -> int:
    """Predict every image; 1 if none of several could be used, 2 for bad input, such as a single image that fails."""
    return execute(Args, _predict, args, __doc__, old={"--checkpoint": Old("--model")})


def _predict(args: Args) -> int:
    # The engines are built on this package; only its command lines reach up to them.
    import engines

    require_at_least(1, threads=args.threads)
    if not math.isfinite(args.draw_score):
        raise UserError(f"--draw-score is {args.draw_score}; expected a number, such as {DRAWN_SCORE}")
    if args.classes == ():
        raise UserError("--classes names none; expected names of classes, or no --classes for all")
    tiling = make_tiling(args.tile, args.overlap)
    options = StreamOptions(batch_size=args.batch_size, workers=args.workers, tiling=tiling)
    source = source_of(
        args.images, listed=args.list, recursive=args.recursive, every=args.every, max_frames=args.max_frames
    )
    _require_own_outputs(args, source)
    writers = _writers(args, source)
    engine = engines.load(
        args.model,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        detections=args.detections,
        score_threshold=args.score_threshold,
    )
    engine.config = with_window(engine.config, args.window)
    written = write_predictions(engine, source, writers, class_names=args.classes, options=options)
    return _report(args, source, written, f"{engine.name} {engine.precision}")


def _writers(args: Args, source: Source) -> list[Writer]:
    """The outputs that were asked for."""
    lines = (
        [] if args.json_lines is None else [JsonLines(None if args.json_lines == STANDARD else Path(args.json_lines))]
    )
    if args.output is None:
        wanted = [name for name in ("masks", "polygons", "labelme") if getattr(args, name)]
        if wanted:
            raise UserError(f"--{wanted[0]} needs a folder: name one with --output")
        if not lines:
            raise UserError("no output was given; expected a folder, --output FOLDER, or --json-lines FILE")
        return [*lines]
    folder = args.output
    inputs = None if source.paths is None else [args.model, *source.paths]
    writers: list[Writer] = [*lines, CocoResults(folder / RESULTS, source.total)]
    if args.draw:
        writers.append(AnnotatedVideo(folder, args.draw_score, inputs))
    if args.masks:
        writers.append(InstanceMasks(folder / "masks"))
    if args.polygons:
        writers.append(CocoPolygons(folder / POLYGONS))
    if args.labelme:
        writers.append(Labelme(folder / "labelme", inputs=inputs))
    return writers


def _require_own_outputs(args: Args, source: Source) -> None:
    """Raise a UserError if a file with the results of all images would replace an input or another output."""
    lines = args.json_lines
    # A drawing, or an input that comes through a pipe, may have any such name.
    if lines is not None and Path(os.path.realpath(lines)).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        raise UserError(f"--json-lines {lines}: is the name of an image or a video; name a file such as lines.jsonl")
    require_own_files(
        {
            "--json-lines": None if lines == STANDARD else lines,
            "results.json in --output": None if args.output is None else args.output / RESULTS,
            "polygons.json in --output": None if args.output is None else args.output / POLYGONS,
        },
        args.model,
        args.list,
        *args.images,
        *(source.paths or ()),
    )


def _report(args: Args, source: Source, written: Written, engine: str) -> int:
    if written.failed == 1 and not written.predicted:
        raise UserError(written.reasons[0])
    for reason in written.reasons[:SHOWN_REASONS]:
        print(f"skipped: {printable(reason)}", file=sys.stderr)
    if written.failed > SHOWN_REASONS:
        print(f"skipped: and {written.failed - SHOWN_REASONS} more", file=sys.stderr)
    dropped = f", {written.dropped} frames dropped" if source.live else ""
    count = written.predicted + written.failed
    to_standard = args.json_lines == STANDARD
    place = args.output or ("standard output" if to_standard else args.json_lines)
    line = f"{written.predicted} of {count} images predicted, {written.failed} skipped{dropped} ({engine}): {place}"
    if count > 1:
        print(f"{count / written.seconds:.2g} images/s, limit={written.limit}", file=sys.stderr)
    # Standard output may be the lines of JSON alone.
    print(line, file=sys.stderr if to_standard else sys.stdout)
    return 1 if not written.predicted else 0


if __name__ == "__main__":
    raise SystemExit(main())
