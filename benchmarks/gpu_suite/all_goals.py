"""All goals of the suite, in the order they are printed."""

from benchmarks.gpu_suite.kernel_goals import KERNEL_GOALS
from benchmarks.gpu_suite.network_goals import NETWORK_GOALS

GOALS = (*NETWORK_GOALS, *KERNEL_GOALS)
