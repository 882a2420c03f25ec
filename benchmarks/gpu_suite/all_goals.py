"""All goals of the suite, in the order they are printed."""

from benchmarks.gpu_suite.kernel_goals import KERNEL_GOALS

GOALS = (*KERNEL_GOALS,)
