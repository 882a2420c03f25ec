"""Loading training images: without augmentation and with each kind of it, in turns on one thread.

python -m benchmarks.data_loading -o out/data_loading.json
"""

import time
from dataclasses import dataclass, replace
from statistics import median

import cv2

from benchmarks.harness.provenance import Provenance, provenance
from benchmarks.harness.report_file import print_json, write_report
from benchmarks.harness.summary import Ratio, paired_ratio
from refinemask.bundled import NUCLEI
from refinemask.command import execute
from refinemask.config import Augmentation
from refinemask.data.coco import read_coco
from refinemask.data.sampler import Pick
from refinemask.data.training import TrainingDataset, collate
from refinemask.options import require_at_least
from refinemask.recipes import RECIPES
from refinemask.spelling import OptionalOutput

NONE = "none"
AUGMENTATIONS = {
    NONE: Augmentation(),
    "scale_jitter": Augmentation(scale_jitter=(0.5, 2.0)),
    "crop": Augmentation(crop=(256, 256)),
    "colour": Augmentation(colour=0.4),
    "rotation": Augmentation(rotation=1.0),
    "copy_paste": Augmentation(copy_paste=1.0),
    "all": Augmentation(scale_jitter=(0.5, 2.0), crop=(256, 256), colour=0.4, rotation=1.0, copy_paste=1.0),
}
"""What is compared. Probabilities are one, so that every image pays for it."""


@dataclass(frozen=True)
class Args:
    """Time how images of the nuclei recipe are read, augmented and put into batches."""

    output: OptionalOutput = None
    """Write the figures to this JSON file too."""
    rounds: int = 15
    """Times that each augmentation has its turn."""
    images: int = 16
    """Images of a turn, all different, in batches of four."""


@dataclass(frozen=True, kw_only=True)
class DataLoadingReport:
    """All augmentations on the same images."""

    provenance: Provenance
    rounds: int
    images: int
    images_per_second: dict[str, float]
    """Median over the rounds, by processor time of one process, of each augmentation."""
    ratio: dict[str, Ratio]
    """Each augmentation's time over that of none, paired per round."""


def main(args: Args | None = None) -> int:
    """Print the images per second of each augmentation as JSON."""
    return execute(Args, _run, args, description=__doc__)


def _run(args: Args) -> None:
    report = measure(args)
    print_json(report)
    write_report(report, args.output)


def measure(args: Args) -> DataLoadingReport:
    """Let the augmentations take turns.

    Raises:
        UserError: no round or no image is asked for.
    """
    require_at_least(1, rounds=args.rounds, images=args.images)
    data = RECIPES["nuclei-demo"].data
    annotations = NUCLEI / data.annotations
    coco = read_coco(annotations)
    datasets = {
        name: TrainingDataset(coco, NUCLEI / data.images, replace(data, augmentation=augmentation))
        for name, augmentation in AUGMENTATIONS.items()
    }
    cv2.setNumThreads(1)
    seconds: dict[str, list[float]] = {name: [] for name in datasets}
    for number in range(-1, args.rounds):
        for name, dataset in datasets.items():
            elapsed = _seconds(dataset, number, args.images)
            if number >= 0:
                seconds[name].append(elapsed)
    return DataLoadingReport(
        provenance=provenance([annotations]),
        rounds=args.rounds,
        images=args.images,
        images_per_second={name: round(args.images / median(times), 1) for name, times in seconds.items()},
        ratio={name: paired_ratio(times, seconds[NONE]) for name, times in seconds.items() if name != NONE},
    )


def _seconds(dataset: TrainingDataset, number: int, images: int) -> float:
    """Processor time of the images of a round."""
    picks = [Pick((number * images + index) % len(dataset), index) for index in range(images)]
    start = time.process_time()
    for first in range(0, images, 4):
        collate([dataset[pick] for pick in picks[first : first + 4]])
    return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
