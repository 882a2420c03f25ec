"""Detect objects in pictures: ``python -m refinemask.predict IMAGE_OR_FOLDER… --model MODEL --output FOLDER``."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.command import execute
from refinemask.config import with_window
from refinemask.data.images import find_images
from refinemask.exit_codes import printable
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.pictures import predict_files, require_drawing
from refinemask.prediction import DRAWN_SCORE
from refinemask.spelling import Old, OptionalName, OptionalNumber, OptionalWindow, Output
from refinemask.tiling import make_tiling


@dataclass(frozen=True, kw_only=True)
class Args:
    """Draw what a model detects, and write it as a COCO results file with run-length encoded masks."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE…")]
    """Images, and folders of images."""
    model: Path
    """A checkpoint (.safetensors) or an exported file of any engine (.pt2, .onnx, .engine)."""
    output: Output
    """The folder for one PNG per image and results.json."""
    draw: bool = True
    """Draw a PNG per image; with --no-draw the folder gets results.json alone, and supervision is not needed."""
    draw_score: float = DRAWN_SCORE
    """Draw only detections of at least this score; the results file has all."""
    detections: OptionalNumber = None
    """Largest number of detections per image, 1 to 3840; if not given, the file's, and only a checkpoint has more."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1; if not given, the file's, and only a checkpoint has a lower one."""
    tile: OptionalNumber = None
    """Predict images that are larger in tiles of this side in pixels, best about the size of the training's images."""
    overlap: OptionalNumber = None
    """Pixels that neighbouring tiles share, best more than an object's size; if not given, an eighth of the tile."""
    device: str = "cpu"
    """cpu or cuda."""
    precision: OptionalName = None
    """fp32, tf32, fp16 or bf16, as far as the engine has it; if not given, the file's own."""
    threads: OptionalNumber = None
    """CPU threads of the engine; if not given, the engine chooses."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; if not given, the model's."""


def main(args: Args | None = None) -> int:
    """Predict every image; 1 if none of several could be used, 2 for bad input."""
    return execute(Args, _predict, args, __doc__, old={"--checkpoint": Old("--model")})


def _predict(args: Args) -> int:
    # The engines are built on this package; only its command lines reach up to them.
    import engines

    require_at_least(1, threads=args.threads)
    if not math.isfinite(args.draw_score):
        raise UserError(f"--draw-score is {args.draw_score}; expected a number, such as {DRAWN_SCORE}")
    tiling = make_tiling(args.tile, args.overlap)
    if args.draw:
        require_drawing()
    paths = find_images(args.images)
    engine = engines.load(
        args.model,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        detections=args.detections,
        score_threshold=args.score_threshold,
    )
    engine.config = with_window(engine.config, args.window)
    skipped = predict_files(
        engine, paths, args.output, draw=args.draw, draw_score=args.draw_score, model=args.model, tiling=tiling
    )
    if skipped and len(paths) == 1:
        raise UserError(skipped[0])
    for reason in skipped:
        print(f"skipped: {printable(reason)}", file=sys.stderr)
    print(
        f"{len(paths) - len(skipped)} of {len(paths)} images predicted, {len(skipped)} skipped "
        f"({engine.name} {engine.precision}): {args.output}"
    )
    return 1 if len(skipped) == len(paths) else 0


if __name__ == "__main__":
    raise SystemExit(main())
