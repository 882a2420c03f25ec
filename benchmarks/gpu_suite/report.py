"""What the GPU suite came to."""

from dataclasses import dataclass

from benchmarks.gpu_suite.accuracy import AccuracyReport
from benchmarks.gpu_suite.ceilings import CeilingsReport
from benchmarks.gpu_suite.context import Outcome
from benchmarks.gpu_suite.detector import DetectorReport
from benchmarks.gpu_suite.end_to_end import EndToEndReport
from benchmarks.gpu_suite.goal_report import GoalReport
from benchmarks.gpu_suite.kernel_checks import NumericsReport
from benchmarks.gpu_suite.kernel_times_report import KernelTimesReport
from benchmarks.gpu_suite.network import NetworkReport
from benchmarks.gpu_suite.packages import PackagesReport
from benchmarks.gpu_suite.paste import PasteReport
from benchmarks.gpu_suite.profile import ProfileReport
from benchmarks.gpu_suite.sanitizer import SanitizerReport
from benchmarks.gpu_suite.training import TrainingReport
from benchmarks.harness.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class GpuReport:
    """Every part's results, as far as they have come; None is a part that has none."""

    provenance: Provenance
    device: str
    """``cuda`` or ``cpu``."""
    tiny: bool
    """Whether sizes were tiny, so that no figure means anything."""
    seconds: float
    """Wall-clock time of the suite."""
    outcomes: tuple[Outcome, ...]
    """How every part and step ended."""
    goals: tuple[GoalReport, ...] = ()
    numerics: NumericsReport | None = None
    accuracy: AccuracyReport | None = None
    sanitizer: SanitizerReport | None = None
    packages: PackagesReport | None = None
    ceilings: CeilingsReport | None = None
    profile: ProfileReport | None = None
    network: NetworkReport | None = None
    paste: PasteReport | None = None
    end_to_end: EndToEndReport | None = None
    kernel_times: KernelTimesReport | None = None
    detector: DetectorReport | None = None
    training: TrainingReport | None = None

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The parts and steps that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")
