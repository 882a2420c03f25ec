"""Which layers of a quantised file stay in higher precision for the sake of its accuracy. Imports no PyTorch."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from refinemask.json_files import Positive

Points = Annotated[float, Meta(ge=0, le=100)]
"""An average precision in points, or a loss of it that is allowed."""
Noise = Annotated[float, Meta(ge=0, le=1e300)]
"""A mean square error in units of the mean square of the values."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Average precision in points, 0 to 100."""

    mask: Points
    """Of masks."""
    boundary: Points
    """Of the masks' boundaries."""


@dataclass(frozen=True, kw_only=True)
class KeptLayers:
    """The result of a search for the layers that a quantised file must not quantise."""

    max_drop: Points
    """Largest loss of mask AP and of boundary AP that was allowed, in points."""
    images: Positive
    """Number of annotated images that accuracy was judged by."""
    backend: str = "onnxruntime"
    """Engine that accuracy was judged in, by the name that ``engines.load`` has for it."""
    source: Accuracy
    """Accuracy of the file before the quantisation."""
    reached: Accuracy
    """Accuracy of the quantised file."""
    layers: dict[str, Noise]
    """The kept layers, and the noise that each one alone would cause in 8 bits; the loudest first."""
