"""Look into a data set before training on it: ``python -m refinemask.data.inspect A.json --images DIR``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from refinemask.command import execute
from refinemask.data.inspection.overlays import require_drawing
from refinemask.data.inspection.page import write_page
from refinemask.data.inspection.run import TOLERATED, inspect
from refinemask.data.inspection.tables import show
from refinemask.exit_codes import FAILED_CHECK
from refinemask.files import UserError, atomic_write, require_not_input
from refinemask.spelling import OptionalName, OptionalOutput, OptionalPath, OptionalWindow

PAGE, NUMBERS = (".html", ".htm"), ".json"
"""Endings of the outputs."""


@dataclass(frozen=True, kw_only=True)
class Args:
    """Count what a data set holds, and what training would lose of it and why.

    The exit code is 1 where training would not start, or would lose more objects than are tolerated.
    """

    annotations: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ANNOTATIONS")]
    """What training would learn from, in any format that this project reads."""
    images: Path
    """Folder of the annotated images."""
    output: OptionalOutput = None
    """Write a page with pictures (.html), which needs the extra draw, or the numbers (.json)."""
    val_annotations: OptionalPath = None
    """Annotations for validation, which are looked into, too, and compared with those for training."""
    val_images: OptionalPath = None
    """Folder of their images; if not given, that of --images."""
    tolerate: float = TOLERATED
    """Share of the objects that training may lose, from 0 to 1."""
    recipe: OptionalName = None
    """The recipe to train by, whose sizes of images and anchors count; if not given, those of the recipes for COCO."""
    window: OptionalWindow = None
    """The values that become 0 and 255 in images of more than 8 bits; if not given, the recipe's."""
    crowd_as_object: bool = False
    """Training and validation take each crowd (iscrowd 1) for one object."""
    decode: bool = False
    """Decode every image, which finds files that are damaged behind their header, and takes longer."""
    pictures: int = 24
    """Number of images that the page shows."""
    seed: int = 0
    """Seed of their choice."""


def main(args: Args | None = None) -> int:
    """Print what was found; 1 where training would lose too much, 2 for bad input."""
    return execute(Args, _inspect, args, __doc__)


def _inspect(args: Args) -> int:
    _require_sensible(args)
    found = inspect(
        args.annotations,
        args.images,
        validation=args.val_annotations,
        validation_images=args.val_images,
        tolerated=args.tolerate,
        recipe=args.recipe or "",
        window=args.window,
        crowd_as_object=args.crowd_as_object,
        decode=args.decode,
    )
    show(found)
    if args.output is not None:
        with atomic_write(args.output) as temporary:
            if args.output.suffix.lower() == NUMBERS:
                temporary.write_text(found.to_json() + "\n", "utf-8")
            else:
                write_page(found, temporary, pictures=args.pictures, seed=args.seed)
        print(args.output)
    return 0 if found.passed else FAILED_CHECK


def _require_sensible(args: Args) -> None:
    for name in ("pictures", "seed"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name} is {getattr(args, name)}; expected at least 0")
    if args.val_images is not None and args.val_annotations is None:
        raise UserError(f"--val-images {args.val_images}: needs --val-annotations, the annotations of these images")
    if args.output is None:
        return
    require_not_input(args.output, args.annotations, args.val_annotations)
    suffix = args.output.suffix.lower()
    if suffix not in (*PAGE, NUMBERS):
        raise UserError(f"--output {args.output}: expected a name that ends in .html (the page) or .json (the numbers)")
    if suffix in PAGE and args.pictures:
        require_drawing()


if __name__ == "__main__":
    raise SystemExit(main())
