"""Convolutions as products: the pixels under the kernel, side by side."""

import numpy as np

from engines.quantised.layers import QuantisedLayer, attributes
from engines.quantised.new_nodes import NewNodes

BANDS = 4
"""Bands of rows whose patches are gathered one after the other: patches are the largest tensors of a network."""
END = np.iinfo(np.int64).max


def patches(layer: QuantisedLayer, source: str, zero: str, new: NewNodes) -> list[str]:
    """Append nodes that gather what a convolution reads at each place, in the order of the kernel's rows.

    Args:
        layer: the convolution.
        source: its input as codes [B, H, W, C].
        zero: the zero point, which fills the padding.

    Returns:
        The names of tensors [B, rows, W', rows · columns of the kernel · C], bands of the H' rows from the top down. A
        band is empty where there are more bands than rows.
    """
    given, name, kernel = attributes(layer.node), layer.node.output[0], layer.codes.shape[2:]
    top, left, bottom, right = given.get("pads", [0] * 4)
    steps, gaps = list(given.get("strides", [1, 1])), list(given.get("dilations", [1, 1]))
    if top or left or bottom or right:
        pads = np.array([0, top, left, 0, 0, bottom, right, 0], np.int64)
        source = new.add("Pad", [source, new.constant(f"{name}.pads", pads), zero], f"{name}.padded")
    if kernel == (1, 1):
        return [source if steps == [1, 1] else _every(source, steps, name, new)]
    places = _Places(source, name, new)
    bands = places.bands(kernel, steps, gaps)
    channels = layer.codes.shape[1]
    pixels = new.add("Reshape", [source, new.numbers(0, -1, channels)], f"{name}.pixels")
    shape = new.numbers(0, 0, 0, channels * kernel[0] * kernel[1])
    for number, band in enumerate(bands):
        gathered = new.add("Gather", [pixels, band], f"{name}.gathered.{number}", axis=1)
        bands[number] = new.add("Reshape", [gathered, shape], f"{name}.patches.{number}")
    return bands


def _every(source: str, steps: list[int], name: str, new: NewNodes) -> str:
    """The pixels of [B, H, W, C] that are ``steps`` apart."""
    limits = new.numbers(0, 0), new.numbers(END, END), new.numbers(1, 2), new.numbers(*steps)
    return new.add("Slice", [source, *limits], f"{name}.every")


class _Places:
    """Where the pixels of a tensor [B, H, W, C] lie when H and W are one axis; sizes need not be known."""

    def __init__(self, source: str, name: str, new: NewNodes) -> None:
        self.name, self.new = name, new
        self.shape = new.add("Shape", [source], f"{name}.shape")
        self.width = new.add("Gather", [self.shape, new.numbers(2)], f"{name}.width")

    def bands(self, kernel: tuple[int, ...], steps: list[int], gaps: list[int]) -> list[str]:
        """Names of the places under the kernel, [rows, W', rows · columns of the kernel] each."""
        new, name = self.new, self.name
        rows, columns = (self._corners(axis, kernel[axis], steps[axis], gaps[axis]) for axis in (0, 1))
        below, beside = (gap * at.ravel() for gap, at in zip(gaps, np.indices(kernel), strict=True))
        under = self._places(new.constant(f"{name}.below", below), new.constant(f"{name}.beside", beside), "under")
        count = new.add("Shape", [rows], f"{name}.rows.count")
        # floor(n/4) + floor((n+1)/4) + floor((n+2)/4) + floor((n+3)/4) is n.
        more = new.add("Add", [count, new.numbers(*range(BANDS))], f"{name}.rows.more")
        sizes = new.add("Div", [more, new.numbers(BANDS)], f"{name}.rows.sizes")
        column = new.add("Unsqueeze", [rows, new.numbers(1)], f"{name}.rows.column")
        corners = new.add("Unsqueeze", [self._places(column, columns, "corners"), new.numbers(2)], f"{name}.corners.3")
        places = new.add("Add", [corners, under], f"{name}.places")
        names = [f"{name}.places.{number}" for number in range(BANDS)]
        new.add("Split", [places, sizes], *names, axis=0)
        return names

    def _corners(self, axis: int, size: int, step: int, gap: int) -> str:
        """The rows, or columns, at which the kernel begins."""
        new, name = self.new, f"{self.name}.{('rows', 'columns')[axis]}"
        whole = new.add("Gather", [self.shape, new.constant(f"axis.{axis + 1}", np.array(axis + 1))], f"{name}.whole")
        end = new.add("Sub", [whole, new.constant(f"{name}.margin", np.array((size - 1) * gap))], f"{name}.end")
        bounds = new.constant("zero.int64", np.array(0)), end, new.constant(f"{name}.step", np.array(step))
        return new.add("Range", [*bounds], name)

    def _places(self, rows: str, columns: str, name: str) -> str:
        above = self.new.add("Mul", [rows, self.width], f"{self.name}.{name}.above")
        return self.new.add("Add", [above, columns], f"{self.name}.{name}")
