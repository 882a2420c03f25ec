"""The parts of the GPU suite in their order.

What times nothing comes first, while jobs still build and compile; accuracy is the last of it, for it waits for the
slowest job. Of what is timed the most important comes first, for the time may end before the last.
"""

from benchmarks.gpu_suite.accuracy import AccuracyReport, prepare_accuracy, run_accuracy
from benchmarks.gpu_suite.ceilings import CeilingsReport, measure_ceilings
from benchmarks.gpu_suite.detector import DetectorReport, run_detector
from benchmarks.gpu_suite.end_to_end import EndToEndReport, prepare_end_to_end, run_end_to_end
from benchmarks.gpu_suite.kernel_checks import NumericsReport, run_numerics
from benchmarks.gpu_suite.kernel_times_report import KernelTimesReport, run_kernel_times
from benchmarks.gpu_suite.network import NetworkReport, prepare_network, run_network
from benchmarks.gpu_suite.packages import PackagesReport, run_packages
from benchmarks.gpu_suite.part import Part
from benchmarks.gpu_suite.paste import PasteReport, run_paste
from benchmarks.gpu_suite.profile import ProfileReport, prepare_profile, run_profile
from benchmarks.gpu_suite.sanitizer import SanitizerReport, prepare_sanitizer, run_sanitizer
from benchmarks.gpu_suite.training import TrainingReport, run_training

PARTS = (
    Part(name="numerics", run=run_numerics, report=NumericsReport, seconds=20, timed=False),
    Part(
        name="sanitizer",
        run=run_sanitizer,
        report=SanitizerReport,
        seconds=20,
        prepare=prepare_sanitizer,
        timed=False,
    ),
    Part(name="accuracy", run=run_accuracy, report=AccuracyReport, seconds=10, prepare=prepare_accuracy, timed=False),
    Part(name="packages", run=run_packages, report=PackagesReport, seconds=30, timed=False, by_default=False),
    Part(name="ceilings", run=measure_ceilings, report=CeilingsReport, seconds=5),
    Part(name="network", run=run_network, report=NetworkReport, seconds=30, prepare=prepare_network),
    Part(name="profile", run=run_profile, report=ProfileReport, seconds=10, prepare=prepare_profile),
    Part(name="paste", run=run_paste, report=PasteReport, seconds=10),
    Part(name="end-to-end", run=run_end_to_end, report=EndToEndReport, seconds=10, prepare=prepare_end_to_end),
    Part(name="kernel-times", run=run_kernel_times, report=KernelTimesReport, seconds=30),
    Part(name="detector", run=run_detector, report=DetectorReport, seconds=15),
    Part(name="training", run=run_training, report=TrainingReport, seconds=20),
)
