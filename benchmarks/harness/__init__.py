"""What the benchmarks share: engines in processes of their own that take turns, what was measured, and where."""
