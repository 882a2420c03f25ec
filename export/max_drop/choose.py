"""Accuracy by choice: which layers must stay in higher precision for a quantised file to lose no more AP than allowed.

Layers are ranked by the noise that each one alone causes; few files are then evaluated on annotated images.
"""

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from export.max_drop.accuracy import Judged, onnx_accuracy
from export.max_drop.search import fewest_kept
from export.max_drop.search_file import SearchFile
from export.max_drop.sensitivity import sensitivities
from export.max_drop.trials import Candidates, Judge, Trials
from refinemask import __version__
from refinemask.agreement import verification_images
from refinemask.contract import Metadata
from refinemask.data.annotated import locate
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.evaluation.metrics import METRICS
from refinemask.evaluation.run import read_dataset, require_images
from refinemask.files import FailedCheckError, UserError, sha256
from refinemask.kept_layers import KeptLayers

NOISE_IMAGES = 3
"""Number of images that the layers' noise is measured on."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a search is to reach, and by which images it is judged.

    Raises:
        UserError: the drop is no number of points.
    """

    max_drop: float
    """Largest loss of mask AP and of boundary AP, in points."""
    annotations: Path
    """Annotations to judge by."""
    images: Path
    """Folder of the images that the annotations name."""
    backend: str = "onnxruntime"
    """The engine that evaluates, by the name that ``engines.load`` has for it."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_drop) and 0 <= self.max_drop <= 100):
            raise UserError(f"--max-drop {self.max_drop}: expected points of AP, 0 to 100, such as 0.3")


def goal_of(
    max_drop: float | None, annotations: str | os.PathLike[str] | None, images: Path, backend: str | None
) -> Goal | None:
    """The goal that the options ask for together; None if none is given, and a UserError if one is missing."""
    if max_drop is None and backend is not None:
        raise UserError(f"--backend {backend} is the engine that --max-drop judges by; give both, or leave it out")
    if max_drop is None and annotations is None:
        return None
    if max_drop is None:
        raise UserError("--annotations judge what --max-drop allows; give both, such as --max-drop 0.3")
    if annotations is None:
        raise UserError("--max-drop needs annotated images to judge AP by: --annotations VAL.json")
    return Goal(max_drop=max_drop, annotations=Path(annotations), images=images, backend=backend or "onnxruntime")


def layers_to_keep(goal: Goal, candidates: Candidates, output: Path) -> KeptLayers:
    """Search the layers to keep; an interrupted search goes on from ``OUTPUT.search.json``.

    Args:
        goal: what to reach.
        candidates: what can be tried.
        output: the file that is to be written.

    Raises:
        UserError: annotations or images cannot be used, or the file of measurements is of another search.
        FailedCheckError: the goal is met only if nothing is quantised.
    """
    file = SearchFile(search_path(output), _source(goal, candidates))

    def judge(path: Path, predictions: Path) -> Judged:
        return onnx_accuracy(path, goal.annotations, goal.images, predictions=predictions, backend=goal.backend)

    return search(goal, candidates, file, judge, output)


def search_path(output: Path) -> Path:
    """The file that keeps what a search has measured, to be removed once ``output`` is written."""
    return output.with_suffix(".search.json")


def search(goal: Goal, candidates: Candidates, file: SearchFile, judge: Judge, output: Path) -> KeptLayers:
    """The layers to keep.

    Args:
        goal: what to reach.
        candidates: what can be tried.
        file: keeps what is measured.
        judge: evaluates a file.
        output: the file to be written, for errors.

    Raises:
        UserError: images cannot be used, or the file of measurements cannot be written.
        FailedCheckError: the goal is met only if nothing is quantised.
    """
    with tqdm(desc="search of layers to keep", unit="evaluation", disable=None) as bar:
        trials, noise = Trials(candidates, file, judge, bar), dict[str, float]()
        # Most files need no search, and so no ranking of their layers.
        if trials.drop(()) > goal.max_drop:
            ranges, precision = candidates.calibration.ranges, candidates.precision
            batches = _batches(goal.images, candidates.source)
            noise = sensitivities(candidates.source, ranges, precision, batches, file.noise, file.add_noise)
        kept = fewest_kept(list(noise), lambda names: trials.drop(names) <= goal.max_drop)
        if kept is None:
            least = list(noise)[:-1]
            raise FailedCheckError(
                f"{output}: not written: even with {len(least)} of {len(noise)} layers kept it loses "
                f"{trials.drop(least):.2f} points of mask or boundary AP on {trials.source.images} images; expected at "
                f"most {goal.max_drop:g}; allow more (--max-drop), or calibrate on more images"
            )
        return KeptLayers(
            max_drop=goal.max_drop,
            images=trials.source.images,
            backend=goal.backend,
            source=trials.source.accuracy,
            reached=trials.judged(kept).accuracy,
            layers={name: noise[name] for name in kept},
        )


def _batches(images: Path, source: Path) -> list[NetworkInput]:
    """A few images, as many in a batch as the file wants at least."""
    metadata = Metadata.of_file(source)
    preprocessing, bounds = metadata.config.preprocessing, metadata.bounds
    pictures = verification_images(images, window=preprocessing.window)
    size = bounds.height[1], bounds.width[1]
    return [
        preprocess([pictures[(start + i) % len(pictures)] for i in range(bounds.smallest_batch)], preprocessing, size)
        for start in range(min(NOISE_IMAGES, len(pictures)))
    ]


def _source(goal: Goal, candidates: Candidates) -> dict[str, str]:
    """What the measurements depend on."""
    dataset, digest = read_dataset(METRICS["coco"], goal.annotations, goal.images, False)
    require_images(dataset, goal.images)
    # Known now, and else only when all images have been run.
    if all(entry.iscrowd for entries in dataset.annotations.values() for entry in entries):
        left_out = "; ".join(f"{finding}" for finding in dataset.findings)
        raise UserError(
            f"{goal.annotations}: has no object with a mask in its {len(dataset.images)} images, expected some to "
            f"judge AP by (--annotations){'; ' if left_out else ''}{left_out}"
        )
    pictures = hashlib.sha256()
    for path in (locate(goal.images, image.file_name) for image in dataset.images):
        pictures.update(sha256(path).encode() if path.is_file() else b"absent")
    ranges = json.dumps(asdict(candidates.calibration), sort_keys=True)
    return {
        "model": sha256(candidates.source),
        "ranges": hashlib.sha256(ranges.encode()).hexdigest(),
        "annotations": digest,
        "images": pictures.hexdigest(),
        "precision": candidates.precision,
        "backend": goal.backend,
        "version": __version__,
    }
