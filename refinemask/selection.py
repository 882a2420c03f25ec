"""Which of what a network finds it gives: how many detections, and from which score on. Imports no PyTorch."""

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from refinemask.config import BoxHeadConfig, ModelConfig
from refinemask.files import UserError
from refinemask.structures import Detections, ImageDetections

MOST_DETECTIONS = 3840
"""Largest number of detections of an image; TensorRT's top-k allows no more candidates for them."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A number of detections and a score threshold in place of a model's own; None keeps the model's.

    Raises:
        UserError: a number is out of its range.
    """

    detections: int | None = None
    """Largest number of detections per image, 1 to 3840."""
    score_threshold: float | None = None
    """Score above which a detection counts, 0 to 1."""

    def __post_init__(self) -> None:
        count, score = self.detections, self.score_threshold
        if count is not None and not (type(count) is int and 1 <= count <= MOST_DETECTIONS):
            raise UserError(f"--detections is {count!r}; expected 1 to {MOST_DETECTIONS}")
        if score is not None and not (type(score) in (int, float) and 0 <= score <= 1):
            raise UserError(f"--score-threshold is {score!r}; expected a number from 0 to 1")

    def beyond(self, config: ModelConfig) -> "Selection":
        """What of it a model does not do by itself."""
        head = config.box_head
        return Selection(
            detections=None if self.detections == head.detections else self.detections,
            score_threshold=None if self.score_threshold == head.score_threshold else self.score_threshold,
        )

    def of_network(self, config: ModelConfig) -> ModelConfig:
        """The configuration of a network that is built to select so.

        More detections than a model has proposals or candidates for need more of both. Training is not changed.
        """
        head = self._of(config.box_head)
        if self.detections is None or self.detections <= config.box_head.detections:
            return replace(config, box_head=head)
        rpn, count = config.rpn, self.detections
        # Every object needs a proposal of its own. Few candidates of a level are left after its NMS.
        if count > rpn.proposals:
            rpn = replace(
                rpn,
                proposals=count,
                candidates_per_level=max(rpn.candidates_per_level, count),
                training_proposals=rpn.training_proposals or rpn.proposals,
            )
        return replace(config, rpn=rpn, box_head=replace(head, candidates=max(head.candidates, count)))

    def of_results(self, config: ModelConfig, path: str | os.PathLike[str] | None) -> ModelConfig:
        """The configuration of a network that is fixed in a file, and whose results are cut.

        Cutting is exact: NMS lets higher scores suppress lower ones only, so fewer detections, or a higher threshold,
        change nothing of what is left.

        Args:
            config: the configuration of the file.
            path: the file, for the error.

        Raises:
            UserError: the network gives fewer detections, or has a higher threshold.
        """
        own = config.box_head
        if self.detections is not None and self.detections > own.detections:
            raise UserError(
                f"{path}: its network gives at most {own.detections} detections, and --detections is "
                f"{self.detections}; {_export(f'--detections {self.detections}')}"
            )
        if self.score_threshold is not None and self.score_threshold < own.score_threshold:
            raise UserError(
                f"{path}: its network gives scores above {own.score_threshold}, and --score-threshold is "
                f"{self.score_threshold}; {_export(f'--score-threshold {self.score_threshold}')}"
            )
        return replace(config, box_head=self._of(own))

    def _of(self, head: BoxHeadConfig) -> BoxHeadConfig:
        return replace(
            head,
            detections=head.detections if self.detections is None else self.detections,
            score_threshold=head.score_threshold if self.score_threshold is None else float(self.score_threshold),
        )

    def source(self) -> dict[str, str]:
        """What kept predictions say of it; nothing where a model selects by itself."""
        named = {"number of detections": self.detections, "score threshold": self.score_threshold}
        return {name: str(value) for name, value in named.items() if value is not None}

    def cut(self, found: Detections) -> Detections:
        """The detections of a batch, NumPy arrays, without those that do not count; their places become padding."""
        boxes, scores, labels, counts, masks = found
        kept = [self._count(row[:count]) for row, count in zip(scores, counts, strict=True)]
        places = scores.shape[1] if self.detections is None else min(self.detections, scores.shape[1])
        real = np.arange(places) < np.asarray(kept, np.int64)[:, None]
        return Detections(
            boxes[:, :places] * real[..., None],
            scores[:, :places] * real,
            labels[:, :places] * real,
            np.asarray(kept, counts.dtype),
            masks[:, :places],
        )

    def cut_image(self, found: ImageDetections) -> ImageDetections:
        """The detections of an image without those that do not count."""
        count = self._count(found.scores)
        boxes, scores, labels, rles = found
        return ImageDetections(boxes[:count], scores[:count], labels[:count], rles[:count])

    def _count(self, scores: NDArray[np.float32]) -> int:
        """How many of an image's detections count, whose scores descend."""
        # In the network, the threshold is a number of float32, too.
        above = len(scores) if self.score_threshold is None else int((scores > np.float32(self.score_threshold)).sum())
        return above if self.detections is None else min(above, self.detections)


WHOLE = Selection()
"""Everything that a model gives."""


def _export(options: str) -> str:
    return f"export the checkpoint with it: python -m export.to_onnx CHECKPOINT -o FILE.onnx {options}"
