"""From the tables that pycocotools and those after it make to figures."""

from typing import Any

from numpy.typing import NDArray


def limits(max_detections: int) -> list[int]:
    """The numbers of detections that AR is measured at; AP counts the most."""
    return [1, 10, max_detections]


def summarize_tables(precision: NDArray[Any], recall: NDArray[Any]) -> dict[str, float]:
    """The figures by name, as of pycocotools' summary at 100 detections.

    Args:
        precision: [10, 101, C, 4, 3] by threshold, recall, category, area range and limit; -1 without objects.
        recall: [10, C, 4, 3].
    """
    best = precision[..., -1]
    parts = {
        "AP": best[..., 0],
        "AP50": best[0, ..., 0],
        "AP75": best[5, ..., 0],
        **{f"AP{size}": best[..., 1 + area] for area, size in enumerate("sml")},
        **{name: recall[..., 0, limit] for limit, name in enumerate(("AR1", "AR10", "AR"))},
        **{f"AR{size}": recall[..., 1 + area, -1] for area, size in enumerate("sml")},
    }
    return {name: float(part[part > -1].mean()) if (part > -1).any() else -1.0 for name, part in parts.items()}
