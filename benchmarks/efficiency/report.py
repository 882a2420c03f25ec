"""The paper's efficiency table as it was measured on one machine."""

from dataclasses import dataclass, field, fields
from typing import Literal

from benchmarks.efficiency.models import Published
from benchmarks.harness.report import ComparisonReport
from benchmarks.harness.report_file import ABSENT_IF_NONE
from benchmarks.harness.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AccuracyInputs:
    """What accuracy was measured on, if it was."""

    annotations: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """SHA-256 of the annotations."""
    ap_star_annotations: str | None = field(default=None, metadata=ABSENT_IF_NONE)
    """SHA-256 of the annotations of AP*."""
    limit: int | None
    """Number of annotated images; None is all."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that must be the same for a measurement to be resumed."""

    settings: Settings
    images: tuple[str, ...]
    """File names of the images that speed is measured on."""
    weights: Literal["random", "trained"]
    accuracy: AccuracyInputs


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """One of the models, whatever runs it."""

    key: str
    name: str
    checkpoint_sha256: str
    parameters: int
    """Trainable numbers."""
    gflops: float
    """Billions of counted operations of one image."""
    gflops_by_part: dict[str, float]
    published: Published


@dataclass(frozen=True, kw_only=True)
class _Backend:
    backend: str
    """Name and precision, as on the command line."""


# The bases' fields come last base first: the name is the first key in the file.
@dataclass(frozen=True, kw_only=True)
class BackendReport(ComparisonReport, _Backend):
    """All models on one backend, in the models' order."""

    @classmethod
    def of(cls, backend: str, comparison: ComparisonReport) -> "BackendReport":
        """The comparison of the models as one backend's."""
        values = {each.name: getattr(comparison, each.name) for each in fields(ComparisonReport)}
        return cls(backend=backend, **values)


@dataclass(frozen=True, kw_only=True)
class EfficiencyReport:
    """The models, and what each backend made of them."""

    table: Literal["efficiency"] = "efficiency"
    inputs: Inputs
    device: str
    """Name of the CPU or GPU."""
    published_at: str
    """Origin of the published figures."""
    models: tuple[ModelReport, ...]
    backends: tuple[BackendReport, ...] = ()
