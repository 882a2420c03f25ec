"""Detect objects in pictures: ``python -m refinemask.predict IMAGE_OR_FOLDER… --model MODEL --output FOLDER``."""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

from refinemask.data.images import read_image
from refinemask.drawing import draw
from refinemask.evaluation.predictions import PredictionFile, predict
from refinemask.files import UserError, atomic_write

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, kw_only=True)
class Args:
    """Draw what a model detects, and write it as a COCO results file with run-length encoded masks."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, and folders of images."""
    checkpoint: Annotated[Path, tyro.conf.arg(aliases=("--model",))]
    """A checkpoint (.safetensors) or an exported file of any engine (.onnx, .engine)."""
    output: Path
    """The folder for one PNG per image and results.json."""
    draw_score: float = 0.5
    """Draw only detections of at least this score; the results file has all."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int | None = None
    """CPU threads of the engine; its own choice if not given."""


def main(args: Args | None = None) -> int:
    """Predict every image; 1 if none of several could be used, 2 for bad input."""
    args = args or tyro.cli(Args, description=__doc__)
    try:
        return _predict(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _predict(args: Args) -> int:
    # The engines are built on this package; only its command lines reach up to them.
    import engines

    paths = find_images(args.images)
    pictures = [args.output / name for name in picture_names(paths)]
    _require_other_files(pictures, paths)
    engine = engines.load(args.checkpoint, device=args.device, threads=args.threads)
    class_names = dict(zip(engine.config.category_ids, engine.config.class_names, strict=True))
    skipped = []
    with TemporaryDirectory() as scratch, PredictionFile(Path(scratch) / "predictions.jsonl", {}) as predictions:
        pairs = zip(paths, pictures, strict=True)
        for image_id, (path, picture) in enumerate(tqdm(pairs, "predicting", len(paths), disable=None), start=1):
            try:
                image = read_image(path)
                [results] = predict(engine, [image])
            except UserError as error:
                skipped.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            predictions.append(image_id, [{"file_name": path.name, **result} for result in results])
            drawn = [result for result in results if result["score"] >= args.draw_score]
            _write_picture(picture, draw(image, drawn, class_names))
        if predictions:
            predictions.export(args.output / "results.json")
    if skipped and len(paths) == 1:
        raise UserError(skipped[0])
    for reason in skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    print(f"{len(paths) - len(skipped)} of {len(paths)} images predicted, {len(skipped)} skipped: {args.output}")
    return 1 if len(skipped) == len(paths) else 0


def _require_other_files(pictures: Sequence[Path], images: Sequence[Path]) -> None:
    given = {path.resolve() for path in images}
    for picture in pictures:
        if picture.resolve() in given:
            raise UserError(f"{picture}: is one of the images and would be overwritten; give another --output")


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The given files, and the image files of the given folders, by name.

    Raises:
        UserError: a folder holds no image file, or nothing was given.
    """
    paths: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise UserError(f"{path}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
            paths += found
        else:
            paths.append(path)
    if not paths:
        raise UserError("no image was given; expected files or folders")
    return paths


def picture_names(paths: Sequence[Path]) -> list[str]:
    """A PNG name for each image, numbered where two images have the same name."""
    names: dict[str, None] = {}
    for path in paths:
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        names[next(name for ending in endings if (name := f"{path.stem}{ending}.png") not in names)] = None
    return list(names)


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    with atomic_write(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    raise SystemExit(main())
