"""The paper's efficiency table: parts of ``python -m benchmarks.compare --table efficiency``."""
