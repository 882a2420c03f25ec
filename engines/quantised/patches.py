"""Convolutions as products: the pixels under the kernel, side by side."""

import numpy as np

from engines.quantised.layers import QuantisedLayer, attributes
from engines.quantised.new_nodes import NewNodes

END = np.iinfo(np.int64).max


def patches(layer: QuantisedLayer, source: str, zero: str, new: NewNodes) -> str:
    """Append nodes that gather what a convolution reads at each place, in the order of the kernel's rows.

    Args:
        layer: the convolution.
        source: its input as codes [B, H, W, C].
        zero: the zero point, which fills the padding.

    Returns:
        The name of a tensor [B, H', W', rows · columns · C].
    """
    given, name, kernel = attributes(layer.node), layer.node.output[0], layer.codes.shape[2:]
    top, left, bottom, right = given.get("pads", [0] * 4)
    steps, gaps = list(given.get("strides", [1, 1])), given.get("dilations", [1, 1])
    if top or left or bottom or right:
        pads = np.array([0, top, left, 0, 0, bottom, right, 0], np.int64)
        source = new.add("Pad", [source, new.constant(f"{name}.pads", pads), zero], f"{name}.padded")
    if kernel == (1, 1) and steps == [1, 1]:
        return source
    pieces = []
    for place in np.ndindex(*kernel):
        starts = [at * gap for at, gap in zip(place, gaps, strict=True)]
        # Counted from the end: sizes need not be known.
        ends = [(at - size + 1) * gap or END for at, size, gap in zip(place, kernel, gaps, strict=True)]
        piece = f"{name}.{'.'.join(map(str, place))}"
        limits = {"starts": starts, "ends": ends, "axes": [1, 2], "steps": steps}
        inputs = [new.constant(f"{piece}.{key}", np.array(value, np.int64)) for key, value in limits.items()]
        pieces.append(new.add("Slice", [source, *inputs], piece))
    return pieces[0] if len(pieces) == 1 else new.add("Concat", pieces, f"{name}.patches", axis=3)
