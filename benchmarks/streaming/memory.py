"""Most memory that this process held."""

from benchmarks.harness.load import peak_memory_bytes


def peak_mib() -> int | None:
    """Largest resident set of this process until now, in MiB; None where the system does not tell."""
    peak = peak_memory_bytes()
    return None if peak is None else peak >> 20
