"""Where a detector's time goes: ``python -m benchmarks.breakdown``."""
