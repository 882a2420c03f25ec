"""Predict any number of images on any number of machines: ``python -m refinemask.batch INPUT… --model --output``."""

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.batch.cluster import Pool
from refinemask.batch.run import Finished, Request, run_job
from refinemask.batch.settings import WorkerSettings
from refinemask.batch.storage import is_remote
from refinemask.command import execute
from refinemask.exit_codes import INTERRUPTED, TERMINATED
from refinemask.files import UserError
from refinemask.options import require_at_least, require_own_files
from refinemask.spelling import OptionalName, OptionalNumber, OptionalPath, OptionalWindow
from refinemask.tiling import make_tiling

LONGEST_TIMEOUT = 1_000_000.0
"""Seconds; the system takes no number of milliseconds that is much larger."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Predict any number of images with the model on every processor, GPU or machine of a Ray cluster, and write the
    results as Parquet files. The same command again goes on where it stopped."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT…")]
    """Folders of images, patterns such as 'a/**/*.jpg', lists of paths or URLs (.txt or .parquet), images; on this
    machine or at s3://, gs://, http:// and what else fsspec reads."""
    model: Path
    """A checkpoint (.safetensors) or an exported file of any engine (.pt2, .onnx, .engine), at the same path on every
    node."""
    output: Annotated[str, tyro.conf.arg(aliases=("-o",))]
    """The folder of the job: a path that every node has, or an s3:// or gs:// URL."""
    column: OptionalName = None
    """The column with the paths in Parquet lists; if not given, the only one of text."""
    recursive: bool = False
    """Search the folders within the given ones, too."""
    to_coco: OptionalPath = None
    """Write all results as one COCO results file in the end."""
    shard_size: OptionalNumber = None
    """Images of a Parquet file, which is what is computed at once and as a whole; if not given, 1000, and fewer in jobs
    of less than 64,000 images."""
    actors: OptionalName = None
    """Number of actors, each with a model of its own, such as 4; or a range that the cluster may use, such as 1-16; if
    not given, as many as fit."""
    cpus_per_actor: int = 1
    """CPUs that an actor takes."""
    gpus_per_actor: float = 0.0
    """GPUs that an actor takes; a part of one, such as 0.5, shares it."""
    address: OptionalName = None
    """The Ray cluster: auto on one of its nodes, or HOST:PORT; if not given, this machine."""
    retries: int = 2
    """How often an image is tried again that killed the process which works on it."""
    timeout: float = 600.0
    """Seconds without a new result after which that process counts as stuck."""
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
    backend: OptionalName = None
    """The engine that runs the file, such as openvino for .onnx; if not given, by the file's ending."""
    device: OptionalName = None
    """cpu or cuda; if not given, cuda where the actors take GPUs."""
    precision: OptionalName = None
    """The file's own if not given; else fp32, tf32, fp16 or bf16, as far as the file and the engine have it, and for an
    int8 file int8 or, in OpenVINO, int8+fp32 or int8+bf16."""
    threads: OptionalNumber = None
    """CPU threads of each engine; if not given, as many as CPUs per actor."""
    window: OptionalWindow = None
    """How images of more than 8 bits become images of 8: the values that become 0 and 255, or percentiles of each
    image's values; if not given, the model's."""


def main(args: Args | None = None) -> int:
    """Run the job; 1 if no image could be used, 2 for bad input. A command line that is interrupted ends here."""
    code = execute(Args, _run, args, __doc__)
    if args is None and code in (INTERRUPTED, TERMINATED):
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError):
                stream.flush()
        # What Ray has registered for the interpreter's end fails, or crashes, where its beginning was broken off.
        os._exit(code)
    return code


def _run(args: Args) -> int:
    counts = {"threads": args.threads, "batch_size": args.batch_size}
    require_at_least(1, shard_size=args.shard_size, cpus_per_actor=args.cpus_per_actor, **counts)
    require_at_least(0, retries=args.retries)
    if not 0 < args.timeout <= LONGEST_TIMEOUT:
        raise UserError(f"--timeout is {args.timeout:g}; expected seconds above 0, and {LONGEST_TIMEOUT:g} at most")
    if not args.images:
        raise UserError("no image was given; expected folders, patterns, lists, files or URLs")
    if not args.output.strip():
        raise UserError("--output is empty; expected the name of a folder, or an s3:// or gs:// URL")
    # A path has lost the second slash of a URL.
    if args.to_coco is not None and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(args.to_coco)):
        raise UserError(f"--to-coco {args.to_coco}: is a URL; expected a file of this machine, to be copied there")
    make_tiling(args.tile, args.overlap)
    require_own_files({"--to-coco": args.to_coco}, args.model, *(each for each in args.images if not is_remote(each)))
    least, most = _range(args.actors)
    request = Request(
        inputs=args.images,
        output=args.output,
        settings=_settings(args),
        column=args.column,
        recursive=args.recursive,
        shard_size=args.shard_size,
        retries=args.retries,
        pool=Pool(least=least, most=most, cpus=args.cpus_per_actor, gpus=args.gpus_per_actor),
        address=args.address,
        to_coco=args.to_coco,
    )
    return _report(args, run_job(request))


def _settings(args: Args) -> WorkerSettings:
    return WorkerSettings(
        model=str(args.model.absolute()),
        backend=args.backend,
        device=args.device or ("cuda" if args.gpus_per_actor else "cpu"),
        precision=args.precision,
        threads=args.threads or args.cpus_per_actor,
        detections=args.detections,
        score_threshold=args.score_threshold,
        batch_size=args.batch_size,
        tile=args.tile,
        overlap=args.overlap,
        window=args.window,
        timeout=args.timeout,
    )


def _range(actors: str | None) -> tuple[int | None, int | None]:
    """The smallest and the largest number of actors that ``4`` or ``1-16`` means."""
    if actors is None:
        return None, None
    found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", actors, re.ASCII)
    if found is None:
        raise UserError(f"--actors is {actors!r}; expected a number such as 4, or a range such as 1-16")
    return int(found[1]), int(found[2] or found[1])


def _report(args: Args, done: Finished) -> int:
    predicted = done.images - done.failed
    if done.computed:
        print(f"{done.computed / done.seconds:.3g} images/s", file=sys.stderr)
    quarantined = f", {done.quarantined} of them in quarantine" if done.quarantined else ""
    print(f"{predicted} of {done.images} images predicted, {done.failed} failed{quarantined}: {args.output}")
    return 0 if predicted else 1


if __name__ == "__main__":
    raise SystemExit(main())
