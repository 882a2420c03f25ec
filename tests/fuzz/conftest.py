"""Fuzzers of what reads files from outside: many damaged inputs, each read or refused in one line.

The default run is short. ``FUZZ=100 python -m pytest tests/fuzz`` takes a hundred times as many inputs.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

Seeds = Callable[[int], Iterator[np.random.Generator]]


@pytest.fixture
def seeds() -> Seeds:
    """One generator for each input; the number asked for is multiplied by the environment variable ``FUZZ``."""
    factor = int(os.environ.get("FUZZ", "1"))
    return lambda count: map(np.random.default_rng, range(count * factor))
