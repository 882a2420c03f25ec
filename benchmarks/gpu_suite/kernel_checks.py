"""All numeric checks of the kernels, as a part of the suite."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.gpu_suite.context import Context
from benchmarks.gpu_suite.numerics import (
    Check,
    check_conv_relu,
    check_kernels,
    check_label_logits,
    check_merge,
    check_nms,
    check_proposals,
    check_roi_align,
    check_top_k,
)
from benchmarks.gpu_suite.tiny import (
    TINY_LABEL_LOGITS_CASES,
    TINY_MERGE_CASES,
    TINY_NMS_CASES,
    TINY_PROPOSALS_CASES,
    TINY_ROI_ALIGN_CASES,
    TINY_TOP_K_CASES,
)
from refinemask.files import FailedCheckError
from trt_plugins.torch_kernels import TorchKernels


@dataclass(frozen=True, kw_only=True)
class NumericsReport:
    """The kernels' results against float64 and the eager operators."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def headline(self) -> str:
        """The key figures in one line."""
        return f"{len(self.checks) - len(self.failed)} of {len(self.checks)} checks passed"


def run_numerics(context: Context) -> NumericsReport:
    """Check every kernel, and the convolutions that compiled engines take from cuDNN.

    Raises:
        NotRunError: there are no kernels here.
        FailedCheckError: a check failed; the report is kept.
    """
    kernels = context.kernels()
    found = _tiny(kernels, context.device) if context.tiny else check_kernels(kernels, context.device)
    checks = list(found)
    # Not ours: where cuDNN refuses one, the results of the kernels remain.
    checks += context.attempt("convolutions", lambda: list(check_conv_relu(context.device))) or []
    report = NumericsReport(checks=tuple(checks))
    if report.failed:
        context.keep(report)
        raise FailedCheckError(f"{report.headline}; the first that failed is {report.failed[0].name}")
    return report


def _tiny(kernels: TorchKernels, device: str) -> Iterator[Check]:
    yield from check_roi_align(kernels, device, TINY_ROI_ALIGN_CASES)
    yield from check_nms(kernels, device, TINY_NMS_CASES)
    yield from check_top_k(kernels, device, TINY_TOP_K_CASES)
    yield from check_merge(kernels, device, TINY_MERGE_CASES)
    yield from check_proposals(kernels, device, TINY_PROPOSALS_CASES)
    yield from check_label_logits(kernels, device, TINY_LABEL_LOGITS_CASES)
