"""What Mask R-CNN here and in torchvision came to."""

from dataclasses import dataclass

from benchmarks.harness.provenance import Provenance
from benchmarks.harness.summary import Percentiles, Ratio


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What every contender was given."""

    canvas: tuple[int, int]
    """Padded height and width."""
    threads: int
    rounds: int
    image: str
    """File name of the photograph."""


@dataclass(frozen=True, kw_only=True)
class ContenderReport:
    """One network in one runtime."""

    network: str
    """:data:`benchmarks.peers.contender.TORCHVISION` or :data:`benchmarks.peers.contender.OURS`."""
    engine: str
    """Backend and precision."""
    detections: int
    """Number of detections in the image."""
    latency_ms: Percentiles
    speedup: Ratio
    """Ratio to torchvision's network in PyTorch."""
    peak_memory_mib: float
    """Largest resident set of the contender's process."""
    samples_ms: tuple[float, ...]
    """One latency per round."""


@dataclass(frozen=True, kw_only=True)
class TorchvisionReport:
    """Contenders that took turns on the same image."""

    provenance: Provenance
    settings: Conditions
    foreign_load: float | None
    """Other processes' share of the CPUs during the rounds."""
    contenders: tuple[ContenderReport, ...]
    """Contenders, torchvision's network in PyTorch first."""
