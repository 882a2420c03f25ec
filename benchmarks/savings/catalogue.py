"""The exact savings of work, each by its name: how exact it is, where it is used, and how it is measured."""

from dataclasses import dataclass
from typing import Literal

HERE = "python -m benchmarks.savings"


@dataclass(frozen=True)
class Saving:
    """One way to compute the same with less work."""

    name: str
    exactness: Literal["bit-exact", "algebraic"]
    """Exactness of the result: bit for bit, as long as libraries keep the order of their sums, or before rounding."""
    used: str
    """Place in the product that has the saving."""
    measured: str = HERE
    """Command that measures the saving, or the reason why none does on a CPU."""
    depends_on_picture: bool = False
    """Whether the work that is saved differs from one picture to the next."""


SAVINGS = {
    saving.name: saving
    for saving in (
        Saving("logits of the label only", "algebraic", "everywhere"),
        Saving("no second ReLU after upsampling", "bit-exact", "everywhere"),
        Saving("1×1 convolutions before upsampling", "algebraic", "everywhere"),
        Saving("fuse convolution split, no concatenation", "algebraic", "everywhere"),
        Saving("one convolution for all that read the semantic map", "bit-exact", "everywhere"),
        Saving("stage 3's 1×1 convolution before RoIAlign", "algebraic", "no"),
        Saving("semantic mask and features pooled as one map", "bit-exact", "no"),
        Saving("RoIAlign as two separable sums", "algebraic", "TensorRT plugin", "python -m benchmarks.gpu_suite"),
        Saving("only detections, not padding", "bit-exact", "eager, --masks found", depends_on_picture=True),
        Saving("semantic branch beside the box head on a second stream", "bit-exact", "no", "for GPUs"),
        Saving("semantic branch only near detections", "bit-exact", "eager", depends_on_picture=True),
        Saving("stage 3 only at the boundary", "bit-exact", "no", "needs a kernel of its own"),
        Saving("no taps in the padding of dilated convolutions", "bit-exact", "no", "needs a kernel of its own"),
        Saving("three dilated convolutions as one product", "algebraic", "no"),
        Saving("RPN's and the semantic branch's first convolution as one", "bit-exact", "no"),
        Saving(
            "boundary test and merge as one operator", "bit-exact", "TensorRT plugin", "python -m benchmarks.gpu_suite"
        ),
        Saving("uint8 in, normalised in the network", "bit-exact", "everywhere", "python -m benchmarks.preprocess"),
        Saving("batch norm folded into convolutions", "algebraic", "exports"),
        Saving("pasted within the box, runs without pixels", "bit-exact", "everywhere", "python -m benchmarks.paste"),
        Saving("NMS and top-k of fixed sizes, one graph", "bit-exact", "exports", "no synchronisation; for GPUs"),
    )
}
"""All savings by name, in the order of the network and then of what surrounds it."""
