"""A line for each image that a person can read."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from refinemask.exit_codes import printable
from refinemask.prediction import Prediction
from refinemask.sources.item import Item
from refinemask.writers.writer import Writer


class ShortLines(Writer):
    """Prints ``a.jpg: 2 dog, 1 cat, best 0.98, 3 below 0.5`` for each image; those that fail are named at the end."""

    def __init__(self, min_score: float) -> None:
        """``min_score`` is the lowest score of the objects whose classes are counted."""
        self._min_score = min_score

    def render(self, item: Item, prediction: Prediction, pixels: NDArray[np.uint8]) -> str:
        """The line."""
        shown = prediction.select(min_score=self._min_score)
        classes = [f"{count} {name}" for name, count in Counter(shown.class_names).most_common()]
        below = len(prediction) - len(shown)
        parts = [
            *(classes or ["nothing"]),
            *([f"best {shown.scores[0]:.2f}"] if len(shown) else []),
            *([f"{below} below {self._min_score:g}"] if below else []),
        ]
        return printable(f"{item.name}: {', '.join(parts)}")

    def write(self, item: Item, prediction: Prediction, rendered: str) -> None:
        """Print it.

        Raises:
            BrokenPipeError: nobody reads standard output any more.
        """
        print(rendered, flush=True)
