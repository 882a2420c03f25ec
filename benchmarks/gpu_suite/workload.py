"""What a kernel is timed on: the key by which its time, its goals and the reason why there is no time are found."""

from dataclasses import dataclass

import torch

from benchmarks.gpu_suite.cases import (
    Kernel,
    LabelLogitsCase,
    Layout,
    MergeCase,
    NMSCase,
    ProposalsCase,
    RoIAlignCase,
    TopKCase,
)


@dataclass(frozen=True)
class TimingPart:
    """All workloads that are timed together."""

    kernel: Kernel
    dtype: torch.dtype | None = None
    """Type of the maps."""

    def __str__(self) -> str:
        return ", ".join([f"{self.kernel} times", *([dtype_name(self.dtype)] if self.dtype else [])])


@dataclass(frozen=True)
class Workload:
    """A case, and for RoIAlign, proposals and label logits the maps they read."""

    case: RoIAlignCase | NMSCase | TopKCase | MergeCase | ProposalsCase | LabelLogitsCase
    dtype: torch.dtype | None = None
    """Type of the maps."""
    layout: Layout | None = None
    """Layout of the maps in memory."""

    @property
    def part(self) -> TimingPart:
        """The part of the suite that times it."""
        return TimingPart(self.case.kernel, self.dtype)

    def __str__(self) -> str:
        maps = [dtype_name(self.dtype)] if self.dtype else []
        return ", ".join([f"{self.case.kernel} {self.case.name}", *maps, *([self.layout] if self.layout else [])])


def dtype_name(dtype: torch.dtype) -> str:
    """``float16`` and the like."""
    return str(dtype).removeprefix("torch.")
