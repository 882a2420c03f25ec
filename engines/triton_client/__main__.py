"""Ask a Triton server what is in images: ``python -m engines.triton_client URL IMAGE…``.

The server serves what ``python -m engines.triton MODEL --output repository/`` wrote.
"""

import math
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from engines.triton.interface import Response
from engines.triton_client.client import REQUESTS, TIMEOUT, Pixels, TritonClient
from engines.triton_client.short_lines import ShortLines
from refinemask.command import execute
from refinemask.exit_codes import printable
from refinemask.files import UserError
from refinemask.options import require_at_least, require_own_files
from refinemask.prediction import DRAWN_SCORE, Prediction
from refinemask.sources.item import Item
from refinemask.sources.source import Source
from refinemask.sources.words import source_of
from refinemask.spelling import OptionalFile, OptionalName, OptionalOutput
from refinemask.writers.annotated_video import AnnotatedVideo
from refinemask.writers.coco_results import CocoResults
from refinemask.writers.json_lines import JsonLines
from refinemask.writers.write import Outcome, Rendered, write_results
from refinemask.writers.writer import Writer

STANDARD = "-"
"""Name of standard output."""
RESULTS = "results.json"
SHOWN_REASONS = 20
"""Largest number of failed images whose reason is printed."""
NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
"""What writers get that do not look at the picture."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Send images to a Triton server, and print, draw and write what it finds in them."""

    url: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="URL")]
    """The server: http://HOST:8000 or grpc://HOST:8001, with an s behind http or grpc if it is encrypted."""
    images: Annotated[tuple[str | Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT…")] = ()
    """Images, videos, folders of images, patterns such as 'a/**/*.jpg', or - for one image on standard input. Files are
    sent as they are."""
    model: OptionalName = None
    """The model's name on the server; if not given, the only one of this project that takes images."""
    output: OptionalOutput = None
    """A folder for a drawing per image (PNG) and video (MP4), and results.json."""
    list: OptionalFile = None
    """A text file with the path of an image or video in each line, or - for standard input."""
    recursive: bool = False
    """Search the folders within the given ones, too."""
    draw: bool = True
    """Draw; --no-draw decodes no image here, and does without the extra draw."""
    draw_score: float = DRAWN_SCORE
    """Draw, and name in the lines, only detections of at least this score."""
    json_lines: OptionalFile = None
    """Write a line of JSON for each image into this file, or with - to standard output in place of the short lines."""
    response: Response = "rle"
    """What the server sends of each mask: run lengths, polygons or pictures. The results are the same."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1; if not given, the model's, and it cannot be lower."""
    requests: int = REQUESTS
    """Requests in flight at the same time."""
    timeout: float = TIMEOUT
    """Seconds to wait for an answer."""


def main(args: Args | None = None) -> int:
    """Ask about every image; 1 if none of several could be used, 2 for bad input, such as a single image that fails."""
    return execute(Args, _ask, args, __doc__)


def _ask(args: Args) -> int:
    require_at_least(1, requests=args.requests)
    if not math.isfinite(args.draw_score):
        raise UserError(f"--draw-score is {args.draw_score}; expected a number, such as {DRAWN_SCORE}")
    source = source_of(args.images, listed=args.list, recursive=args.recursive)
    writers = _writers(args, source)
    start = time.perf_counter()
    with TritonClient(
        args.url,
        args.model,
        response=args.response,
        score_threshold=args.score_threshold,
        requests=args.requests,
        timeout=args.timeout,
    ) as client:
        outcome = _write(client, source, writers, draws=args.output is not None and args.draw)
    return _report(args, outcome, str(client), time.perf_counter() - start)


def _writers(args: Args, source: Source) -> list[Writer]:
    """The outputs that were asked for."""
    results = None if args.output is None else args.output / RESULTS
    to_standard = args.json_lines == STANDARD
    lines = None if to_standard or args.json_lines is None else Path(args.json_lines)
    given = (args.list, *args.images, *(source.paths or ()))
    require_own_files({"--json-lines": lines, "results.json in --output": results}, *given)
    writers: list[Writer] = [] if to_standard else [ShortLines(args.draw_score)]
    if args.json_lines is not None:
        writers.append(JsonLines(lines))
    if args.output is not None and results is not None:
        writers.append(CocoResults(results, source.total))
        if args.draw:
            writers.append(AnnotatedVideo(args.output, args.draw_score, source.paths))
    return writers


def _write(client: TritonClient, source: Source, writers: list[Writer], *, draws: bool) -> Outcome:
    def render(item: Item, prediction: Prediction, pixels: Pixels) -> Rendered:
        picture: NDArray[np.uint8] = pixels() if draws else NO_PIXELS
        return prediction, [writer.render(item, prediction, picture) for writer in writers]

    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        # The requests end before the outputs do.
        return write_results(stack.enter_context(closing(client.stream(source, render))), writers)


def _report(args: Args, outcome: Outcome, client: str, seconds: float) -> int:
    if outcome.failed == 1 and not outcome.predicted:
        raise UserError(outcome.reasons[0])
    for reason in outcome.reasons[:SHOWN_REASONS]:
        print(f"skipped: {printable(reason)}", file=sys.stderr)
    if outcome.failed > SHOWN_REASONS:
        print(f"skipped: and {outcome.failed - SHOWN_REASONS} more", file=sys.stderr)
    count = outcome.predicted + outcome.failed
    place = "" if args.output is None else f": {args.output}"
    print(
        f"{outcome.predicted} of {count} images predicted, {outcome.failed} skipped, {count / seconds:.2g} images/s "
        f"({client}){place}",
        file=sys.stderr,
    )
    return 1 if not outcome.predicted else 0


if __name__ == "__main__":
    raise SystemExit(main())
