"""What the benchmark of batch jobs reports."""

from dataclasses import dataclass

from benchmarks.harness.provenance import Provenance
from benchmarks.harness.summary import Quartiles, Ratio


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Time per image of one way, in turns with the other, without its start."""

    milliseconds: Quartiles
    samples: tuple[float, ...]
    """Milliseconds of each round."""


@dataclass(frozen=True, kw_only=True)
class OverheadReport:
    """The same images by the plain predictor, which keeps no result, and by a job of one actor, which writes them."""

    images: int
    """Number of images of a round."""
    shard_size: int
    """Images of a shard; those of the first one are not measured, in either way."""
    plain: Speed
    job: Speed
    share: Ratio
    """Images per second of the job over those of the plain predictor, paired per round."""
    seconds_to_first_shard: Quartiles
    """From the start of the command until the first shard is there: Ray, the model, and the images of the shard."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Resident memory of one kind of process over a run; of several such processes the largest."""

    mib: tuple[int, ...]
    """Samples, equally far apart."""
    growth_mib: float
    """Median of the last third of the samples less that of the middle third."""


@dataclass(frozen=True, kw_only=True)
class LongRunReport:
    """One job over many images."""

    images: int
    actors: int
    shard_size: int
    seconds: float
    """Duration of the command."""
    images_per_second: float
    megabytes_out: float
    """Size of all shards, in 10⁶ bytes."""
    shards: int
    failed: int
    """Number of images with an error."""
    seconds_between_samples: float
    memory: dict[str, Held]
    """By kind: ``driver``, ``actor``, ``worker process``, ``raylet``, ``gcs``."""


@dataclass(frozen=True, kw_only=True)
class BatchJobReport:
    """All of it."""

    provenance: Provenance
    side: int
    """Pixels of the sides of the network's input."""
    threads: int
    """CPU threads of each engine."""
    overhead: OverheadReport | None = None
    long_run: LongRunReport | None = None
