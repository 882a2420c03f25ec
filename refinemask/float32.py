"""How a GPU multiplies float32 numbers: as they are, or rounded to TensorFloat-32 (10 bits) first.

PyTorch's own default is TensorFloat-32 for convolutions and float32 for matrix products.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch

_settings = RLock()


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Convolutions and matrix products of float32 on a GPU, in TensorFloat-32 or in float32, while this is open.

    PyTorch's settings hold for the whole process. Threads that open this take turns, and the settings are given back.
    """
    # The older settings (allow_tf32) raise where both kinds were used, and cannot tell convolutions from other layers.
    backends: tuple[Any, Any] = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    with _settings:
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "tf32" if tf32 else "ieee"
            yield
        finally:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision
