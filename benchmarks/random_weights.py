"""A checkpoint of the published architecture without its weights, for measuring speed.

python -m benchmarks.random_weights -o r50-random.safetensors
"""

from dataclasses import dataclass, field

from benchmarks.harness.random_detector import SETTLED_RECIPE, random_detector
from refinemask.command import execute
from refinemask.config import FCNMaskConfig, HTCConfig, PointRendConfig, RefineMaskConfig
from refinemask.files import UserError, require_file
from refinemask.spelling import Output
from refinemask.weights import save_detector


@dataclass(frozen=True, kw_only=True)
class Args:
    """Write a detector with seeded random weights, 80 classes and, without a score threshold, always 100 detections."""

    output: Output
    """Checkpoint to write (.safetensors)."""
    mask_head: FCNMaskConfig | RefineMaskConfig | PointRendConfig | HTCConfig = field(default_factory=RefineMaskConfig)
    depth: int = 50
    """Layers of the backbone, 50 or 101."""
    seed: int = 0
    """Seed of the weights."""
    score_threshold: float = 0.0
    """Score above which a detection counts, 0 to 1; with 0.2 an image of one colour gives none."""


def main(args: Args | None = None) -> int:
    """Write the checkpoint; exit code 2 where something given is wrong."""
    return execute(Args, _write, args)


def _write(args: Args) -> None:
    require_file(args.output)
    if not 0 <= args.score_threshold < 1:
        raise UserError(f"--score-threshold is {args.score_threshold:g}; expected 0 or more, and less than 1")
    detector = random_detector(args.mask_head, depth=args.depth, seed=args.seed, score_threshold=args.score_threshold)
    save_detector(detector, args.output, recipe=SETTLED_RECIPE)


if __name__ == "__main__":
    raise SystemExit(main())
