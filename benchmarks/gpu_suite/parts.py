"""The parts of the GPU suite in their order: what is checked while jobs run, then what is timed."""

from benchmarks.gpu_suite.ceilings import CeilingsReport, measure_ceilings
from benchmarks.gpu_suite.detector import DetectorReport, run_detector
from benchmarks.gpu_suite.kernel_checks import NumericsReport, run_numerics
from benchmarks.gpu_suite.kernel_times_report import KernelTimesReport, run_kernel_times
from benchmarks.gpu_suite.part import Part
from benchmarks.gpu_suite.paste import PasteReport, run_paste

PARTS = (
    Part(name="numerics", run=run_numerics, report=NumericsReport, seconds=20, timed=False),
    Part(name="ceilings", run=measure_ceilings, report=CeilingsReport, seconds=5),
    Part(name="kernel-times", run=run_kernel_times, report=KernelTimesReport, seconds=30),
    Part(name="paste", run=run_paste, report=PasteReport, seconds=10),
    Part(name="detector", run=run_detector, report=DetectorReport, seconds=15),
)
