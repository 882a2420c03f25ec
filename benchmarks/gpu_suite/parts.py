"""The parts of the GPU suite in their order: what is built or checked while jobs run, then what is timed."""

from benchmarks.gpu_suite.ceilings import CeilingsReport, measure_ceilings
from benchmarks.gpu_suite.part import Part

PARTS = (Part(name="ceilings", run=measure_ceilings, report=CeilingsReport, seconds=5),)
