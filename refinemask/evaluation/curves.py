"""What stands behind an average precision: that of each class, and precision against recall."""

import numpy as np
from numpy.typing import NDArray

CURVES = {"AP50": slice(0, 1), "AP75": slice(5, 6), "AP": slice(None)}
"""By the name of a figure, the places of its IoU thresholds among 0.5, 0.55 … 0.95."""
CURVE_NAMES = {"AP50": "IoU 0.50", "AP75": "IoU 0.75", "AP": "mean over all IoU thresholds"}
"""What they are called."""


def class_average_precision(precision: NDArray[np.float64]) -> list[float]:
    """AP of each class, over all areas, in 0..1; -1 for a class without objects.

    Args:
        precision: [C, A, 10, 101] by class, area range (the first is of all areas), IoU threshold and recall, as
            :func:`refinemask.evaluation.average_precision.precision` gives it; NaN without objects.
    """
    known = ~np.isnan(precision[:, 0]).any(axis=(1, 2))
    means = np.where(known, np.nan_to_num(precision[:, 0]).mean(axis=(1, 2)), -1.0)
    return [float(value) for value in means]


def precision_recall(precision: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    """Precision at the recalls 0, 0.01 … 1 by the names of :data:`CURVES`, the mean over the classes with objects.

    Empty if no class has objects.

    Args:
        precision: that of :func:`class_average_precision`.
    """
    known = precision[~np.isnan(precision[:, 0]).any(axis=(1, 2)), 0]
    if not len(known):
        return {}
    return {name: tuple(known[:, chosen].mean(axis=(0, 1)).tolist()) for name, chosen in CURVES.items()}
