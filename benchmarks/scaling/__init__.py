"""How latency, throughput and memory grow: parts of ``python -m benchmarks.scaling``."""
