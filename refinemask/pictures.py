"""Drawings, and a COCO results file, of what a detector finds in image files."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from tqdm import tqdm

from refinemask.data.images import read_image
from refinemask.evaluation.prediction_file import PredictionFile, scratch_predictions
from refinemask.evaluation.predictions import export_results
from refinemask.extras import needed_by
from refinemask.files import UserError, require_file
from refinemask.prediction import DRAWN_SCORE, Predictor
from refinemask.sources.places import Places
from refinemask.tiled_prediction import predict_in_tiles
from refinemask.tiling import Tiling

PNG = ".png"
RESULTS = "results.json"


def require_drawing() -> None:
    """Raise a UserError unless pictures can be drawn here."""
    with needed_by("drawing", otherwise="leave the pictures out with --no-draw"):
        import refinemask.drawing  # noqa: F401


def predict_files(
    predictor: Predictor,
    paths: Sequence[Path],
    output: Path,
    *,
    draw: bool = True,
    draw_score: float = DRAWN_SCORE,
    model: Path | None = None,
    tiling: Tiling | None = None,
) -> list[str]:
    """Detect the objects of image files; an image that cannot be used is skipped.

    Whatever ends the work early, ``results.json`` has what was found until then.

    Args:
        predictor: the detector, such as an engine.
        paths: the image files.
        output: folder for one PNG drawing per image and ``results.json``; unchanged if no image could be used.
        draw: whether to draw; otherwise the folder gets ``results.json`` alone.
        draw_score: lowest score of a detection that is drawn; the results file has all.
        model: the predictor's file, which no output may replace.
        tiling: tiles in which larger images are predicted; None leaves every image whole.

    Returns:
        The reason for each image that was skipped.

    Raises:
        UserError: an output would replace an image or the model, or cannot be written.
    """
    names = picture_names(paths)
    _require_own_files(output, [*(names if draw else ()), RESULTS], [*paths, *([model] if model else ())])
    skipped = []
    with _exported_predictions(output / RESULTS, len(paths)) as predictions:
        pairs = tqdm(zip(paths, names, strict=True), "predicting", len(paths), disable=None)
        for image_id, (path, name) in enumerate(pairs, start=1):
            try:
                image = read_image(path, predictor.config.preprocessing.window)
                [prediction] = predict_in_tiles(predictor, [image], [path], tiling=tiling)
            except UserError as error:
                skipped.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            found = prediction.to_coco()
            predictions.append(image_id, [{"file_name": _text(path.name), **result} for result in found])
            if draw:
                prediction.save(output, name=name, image=image, min_score=draw_score)
    return skipped


def picture_names(paths: Sequence[Path]) -> list[str]:
    """A PNG name for each image, numbered where two images have the same name, and cut where it would be too long."""
    places = Places(len(PNG))
    return [f"{places.of_image(PurePosixPath(path.stem))}{PNG}" for path in paths]


def _text(name: str) -> str:
    """A file's name as JSON takes it: bytes that are no UTF-8 become replacement characters."""
    return os.fsencode(name).decode(errors="replace")


@contextmanager
def _exported_predictions(path: Path, images: int) -> Iterator[PredictionFile]:
    """Where predictions of ``images`` images go, which become the COCO results file ``path`` however the block ends."""
    with scratch_predictions() as scratch, PredictionFile(scratch, {}) as predictions:
        complete = False
        try:
            yield predictions
            complete = True
        finally:
            if predictions:
                _export(predictions, path)
                if not complete:
                    print(f"interrupted: {len(predictions)} of {images} images predicted: {path}", file=sys.stderr)


def _export(predictions: PredictionFile, path: Path) -> None:
    try:
        export_results(predictions, path)
    except UserError as error:
        # Hours of work are worth a second place, which may be on another disk.
        kept = Path(mkdtemp(prefix="refinemask-")) / RESULTS
        export_results(predictions, kept)
        raise UserError(f"{error}; the results of {len(predictions)} images are in {kept}") from error


def _require_own_files(output: Path, names: Sequence[str], inputs: Sequence[Path]) -> None:
    """Raise a UserError if a file of the folder ``output`` would replace an input, or something else than a file."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file, expected the name of a folder")
    given = {_identity(path) for path in inputs} - {None}
    for path in (output / name for name in names):
        require_file(path)
        if _identity(path) in given:
            what = "the images" if path.name != RESULTS else "the files to read"
            raise UserError(f"{path}: is one of {what} and would be overwritten; give another --output")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
