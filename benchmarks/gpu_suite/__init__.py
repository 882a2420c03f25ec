"""What only a GPU can prove: parts of ``python -m benchmarks.gpu_suite``."""
