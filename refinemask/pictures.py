"""Drawings, and a COCO results file, of what a detector finds in image files."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from refinemask.data.images import read_image
from refinemask.evaluation.predictions import PredictionFile, export_results
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.prediction import DRAWN_SCORE, Predictor, predict


def require_drawing() -> None:
    """Raise a UserError unless pictures can be drawn here."""
    with needed_by("drawing", otherwise="leave the pictures out with --no-draw"):
        import refinemask.drawing  # noqa: F401


def predict_files(
    predictor: Predictor, paths: Sequence[Path], output: Path, *, draw: bool = True, draw_score: float = DRAWN_SCORE
) -> list[str]:
    """Detect the objects of image files; an image that cannot be used is skipped.

    Args:
        predictor: the detector, such as an engine.
        paths: the image files.
        output: folder for one PNG drawing per image and ``results.json``; unchanged if no image could be used.
        draw: whether to draw; otherwise the folder gets ``results.json`` alone.
        draw_score: lowest score of a detection that is drawn; the results file has all.

    Returns:
        The reason for each image that was skipped.

    Raises:
        UserError: a drawing would replace one of the images, or cannot be written.
    """
    names = picture_names(paths)
    if draw:
        _require_other_files([output / name for name in names], paths)
    skipped = []
    with TemporaryDirectory() as scratch, PredictionFile(Path(scratch) / "predictions.jsonl", {}) as predictions:
        pairs = tqdm(zip(paths, names, strict=True), "predicting", len(paths), disable=None)
        for image_id, (path, name) in enumerate(pairs, start=1):
            try:
                image = read_image(path)
                [prediction] = predict(predictor, [image], [path])
            except UserError as error:
                skipped.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            predictions.append(image_id, [{"file_name": path.name, **result} for result in prediction.to_coco()])
            if draw:
                prediction.save(output, name=name, image=image, min_score=draw_score)
        if predictions:
            export_results(predictions, output / "results.json")
    return skipped


def picture_names(paths: Sequence[Path]) -> list[str]:
    """A PNG name for each image, numbered where two images have the same name."""
    names: dict[str, None] = {}
    for path in paths:
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        names[next(name for ending in endings if (name := f"{path.stem}{ending}.png") not in names)] = None
    return list(names)


def _require_other_files(pictures: Sequence[Path], images: Sequence[Path]) -> None:
    given = {path.resolve() for path in images}
    for picture in pictures:
        if picture.resolve() in given:
            raise UserError(f"{picture}: is one of the images and would be overwritten; give another --output")
