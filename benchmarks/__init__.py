"""Engines side by side in speed and accuracy: the distribution ``refinemask-benchmarks``."""

from refinemask import __version__

__all__ = ["PROJECT", "__version__"]
PROJECT = "refinemask"
"""Tells this package from others of its name."""
