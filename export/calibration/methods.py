"""Choosing a tensor's range from the histogram of its magnitudes: by squared error, by entropy or by a percentile.

Larger values than the range become the range. Entropy and percentiles are ONNX Runtime's.
"""

import contextlib
import io
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from export.calibration.histogram import BINS, Histogram

if TYPE_CHECKING:
    from onnxruntime.quantization.calibrate import HistogramCollector

Method = Literal["mse", "entropy", "percentile-99.9", "percentile-99.99", "percentile-99.999"]
LEVELS = 127
"""Steps of an int8 code from 0 to the end of the range."""
ENTROPY_BINS = 512
"""Most bins from 0 to the largest value for entropy: the search of ONNX Runtime takes a second for these."""


def choose_range(histogram: Histogram, method: Method) -> float:
    """The largest magnitude that a rounded tensor keeps; 0 if all its values are as good as 0.

    Args:
        histogram: the magnitudes of the tensor's values.
        method: ``mse``: the range by which rounding to int8 has the least squared error; ``entropy``: that by which
            the distribution of the rounded values diverges least from that of the values (Kullback and Leibler);
            ``percentile-P``: the magnitude that P percent of the values do not exceed.
    """
    if histogram.largest < 2.0 ** (histogram.exponent - 1):
        return 0.0
    if method == "mse":
        found = _by_squared_error(histogram)
    elif method == "entropy":
        found = _by_entropy(histogram)
    else:
        found = _by_percentile(histogram, float(method.removeprefix("percentile-")))
    # Percentiles of a tensor that is nearly always 0 are 0.
    return float(np.clip(found, histogram.width, histogram.largest))


def _by_squared_error(histogram: Histogram) -> float:
    counts = np.trim_zeros(histogram.counts, "b")
    values = (np.arange(len(counts)) + 0.5) * histogram.width
    # Where a step is narrower than a bin, the histogram does not tell what rounding does.
    ends = np.arange(LEVELS, len(counts) + 1) * histogram.width
    errors = [float(np.dot(counts, _rounding_errors(values, end) ** 2)) for end in ends]
    return float(ends[int(np.argmin(errors))])


def _rounding_errors(values: NDArray[np.floating], end: float) -> NDArray[np.floating]:
    """How far magnitudes are from what int8 codes of the range ``end`` make of them."""
    step = end / LEVELS
    return values - np.minimum(np.round(values / step), LEVELS) * step


def _by_entropy(histogram: Histogram) -> float:
    counts = np.trim_zeros(histogram.counts, "b")
    joined = -(-len(counts) // ENTROPY_BINS)
    counts = np.pad(counts, (0, -len(counts) % joined)).reshape(-1, joined).sum(axis=1)
    # ONNX Runtime looks at both signs. So do the codes: they are symmetric, whatever the values are.
    both = np.concatenate([counts[::-1], counts])
    edges = np.arange(-len(counts), len(counts) + 1) * (joined * histogram.width)
    levels = 2 * LEVELS + 1
    collector = _collector("entropy", len(both), levels, 0.0)
    below, above = collector.get_entropy_threshold((both, edges, edges[0], edges[-1]), levels)
    # Of bins that are even in number, it takes one more above 0 than below.
    return min(-float(below), float(above))


def _by_percentile(histogram: Histogram, percentile: float) -> float:
    collector = _collector("percentile", BINS, 0, percentile)
    edges = np.arange(BINS + 1) * histogram.width
    collector.histogram_dict = {"": (histogram.counts, edges, -edges[-1], edges[-1])}
    # It prints what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        return float(collector.compute_percentile()[""][1])


def _collector(method: str, bins: int, levels: int, percentile: float) -> "HistogramCollector":
    # Its own histograms are not used. Their number of bins grows with the ratio of two images' largest values.
    from onnxruntime.quantization.calibrate import HistogramCollector

    return HistogramCollector(method, True, bins, levels, percentile, None)
