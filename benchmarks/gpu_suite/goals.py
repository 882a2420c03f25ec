"""What the kernels are meant to reach, judged on measured times."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.gpu_suite.kernel_times import KernelTime

HALF_PLANAR, HALF_CHANNELS_LAST = "float16, planar", "float16, channels last"


class Goal(NamedTuple):
    """A ratio of two medians."""

    name: str
    found: float
    wanted: str
    met: bool


def goals(times: Sequence[KernelTime]) -> list[Goal]:
    """Those for which both times were measured."""
    by_name = {entry.name: entry for entry in times}
    found = []
    for case in ("box head 7×7", "mask head 14×14"):
        for layout in (HALF_PLANAR, HALF_CHANNELS_LAST):
            found.append(_faster(by_name, f"RoIAlign {case}, {layout}", "torchvision per level", 2.0))
    for size in (14, 28, 56):
        for layout in (HALF_PLANAR, HALF_CHANNELS_LAST):
            for boxes in ("full image", "large boxes"):
                found.append(_worst_case(by_name, f"RoIAlign semantic {size}×{size}", boxes, layout))
    for name in (name for name in by_name if name.startswith("NMS ")):
        found.append(_faster(by_name, name, "fixpoint body", 5.0))
        found.append(_faster(by_name, name, "torchvision", 1.0))
    return [goal for goal in found if goal is not None]


def _faster(times: dict[str, KernelTime], name: str, peer: str, wanted: float) -> Goal | None:
    if name not in times:
        return None
    ratio = times[name].peers[peer].p50 / times[name].kernel.p50
    return Goal(f"{name}: {peer} / kernel", ratio, f"at least {wanted:g}", ratio >= wanted)


def _worst_case(times: dict[str, KernelTime], name: str, boxes: str, layout: str) -> Goal | None:
    usual, worst = times.get(f"{name}, {layout}"), times.get(f"{name}, {boxes}, {layout}")
    if usual is None or worst is None:
        return None
    ratio = worst.kernel.p50 / usual.kernel.p50
    return Goal(f"{name}, {layout}: {boxes} / COCO-like", ratio, "at most 3", ratio <= 3)
