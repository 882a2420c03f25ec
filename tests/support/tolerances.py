"""Every numeric tolerance of the tests, each with its reason."""

from typing import Any, NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """Largest absolute difference, largest relative difference, and why."""

    absolute: float
    relative: float
    reason: str


TOLERANCES: dict[str, Tolerance] = {
    "golden logits": Tolerance(2e-4, 0, "float32 mask logits; 2 threads against 1 moves the official ones by 2.6e-5"),
    "golden pyramid": Tolerance(2e-4, 0, "FPN and RPN maps in float32; the official ones move by up to 2.5e-5"),
    "golden boxes": Tolerance(0.02, 0, "input pixels; float64 moves the official proposals by 1.7e-3"),
    "golden scores": Tolerance(2e-4, 0, "softmax scores of logits with gain 5"),
    "golden final logits": Tolerance(0.01, 0, "a flipped sign at 28×28 exchanges whole pixels: judged by their share"),
    "golden chosen points": Tolerance(
        1e-3, 0, "share of pixels: equal up to the order of float sums, but which points are the most uncertain may tip"
    ),
    "golden loss terms": Tolerance(0, 1e-4, "sums over logits that agree to 2e-4, of both signs"),
    "point targets": Tolerance(1e-4, 0, "bilinear values at positions that float32 knows to 1e-5 px"),
    "exact in float64": Tolerance(0, 1e-12, "algebraically equal; only the order of float64 sums differs"),
    "exact in float32": Tolerance(1e-6, 1e-5, "algebraically equal; only the order of float32 sums differs"),
    "gradients in float64": Tolerance(0, 1e-10, "norms: algebraically equal; sums over all pixels of all stages"),
    "sums in float64": Tolerance(1e-12, 0, "values near 1; only the order of a few float64 operations differs"),
    "refined points in float64": Tolerance(1e-6, 0, "float32 positions in five rounds, all else float64"),
    "golden proposal scores": Tolerance(1e-4, 0, "sigmoid of logits with gain 0.8: a quarter of their difference"),
    "golden final medians": Tolerance(1e-4, 0, "median over the pixels of all masks, which no flipped pixel moves"),
    "golden final pixels": Tolerance(1e-3, 0, "share of pixels that a flipped sign at 28×28 exchanges"),
    "golden merge": Tolerance(1e-4, 0, "logits of up to 4, interpolated once more in float32"),
    "batches": Tolerance(1e-4, 1e-4, "float32 convolutions of another batch size take another path; boxes in px"),
    "box coder": Tolerance(1e-4, 1e-4, "float32 logarithm and exponential of boxes of up to 100 px"),
    "constants": Tolerance(1e-6, 0, "a constant that is given to seven digits"),
    "one float32 operation": Tolerance(0, 1e-6, "rounded once or twice: eps is 1.2e-7"),
    "differences in float32": Tolerance(1e-5, 0, "a term of size 1 seen as the difference of sums of size 10"),
    "padded rois": Tolerance(1e-5, 1e-5, "float32 convolutions over another number of RoIs"),
    "sums of extreme codes": Tolerance(
        1e-3, 1e-5, "float32 sums of 144 products of up to 6.35 and 20.3 against float64; one code is 0.06 to 1"
    ),
    "quantised sums": Tolerance(1e-4, 0, "float32 sums of up to 144 products, the weights up to 30, against float64"),
    "bitmap cells on another device": Tolerance(
        1e-3, 0, "share of cells: sums in another order may decide a value of exactly one half"
    ),
    "averaged weights": Tolerance(1e-7, 1e-5, "float32: a weight of each step and their sum"),
    "loss of one image": Tolerance(0, 1e-5, "float32 means of thousands of terms, over one image or two"),
    "losses of parts": Tolerance(0, 1e-4, "float32 means of the parts of a batch against the mean of the whole"),
    "losses in bfloat16": Tolerance(0, 0.03, "eight bits of every activation are kept: 0.4 % each"),
    "losses when compiled": Tolerance(0, 1e-3, "fused float32 kernels, and the samples that they tip"),
    "clipped gradient": Tolerance(0, 1e-3, "a learning rate of 1 times the clipped norm, summed over all weights"),
    "mask pixels that changed sides": Tolerance(1e-3, 0, "share of pixels: one sign at a stage's boundary moves four"),
    "shares of a breakdown": Tolerance(0.05, 0, "times of parts and of the whole are of different runs"),
    "gflop of a breakdown": Tolerance(2e-3, 0, "reports round to three digits"),
    "onnx runtime": Tolerance(1e-4, 0, "scores and mask probabilities of two float32 libraries, on tiny networks"),
    "onnx runtime boxes": Tolerance(1e-2, 0, "input pixels, likewise"),
    "onnx reference evaluator": Tolerance(1e-6, 1e-5, "one convolution in fp32, summed in another order"),
    "mask sample position": Tolerance(1e-5, 0, "float32 pixel positions in a mask, times the mask's slope"),
    "pasted pixels": Tolerance(2, 0, "pixels of all golden masks: float32 sampling decides a value of one half"),
    "overlap of pasted masks": Tolerance(0.03, 0, "IoU of small objects: one of 40 pixels may change sides"),
    "overlap of joined masks": Tolerance(0.05, 0, "IoU of objects that fit a tile, with those found without tiles"),
    "average precision": Tolerance(1e-12, 0, "the same counts as the reference; the means sum in another order"),
    "average precision of another evaluator": Tolerance(1e-6, 0, "the benchmark itself refuses more"),
    "AP of the same weights": Tolerance(0.01, 0, "the settings differ in the boxes of low score alone"),
    "AP of another engine": Tolerance(0.01, 0, "one near-tie of the 60 objects or more in two or four pictures"),
    "AP in few bits": Tolerance(0.03, 0, "of a few pictures in bf16 or int8; one of 0.0084 was measured on four"),
    "numbers of odd int8 files": Tolerance(
        2e-3, 1e-5, "means of 6,144 codes, of which an order of float32 sums may tip some; 0.03 or more if wrong"
    ),
    "masks in 8 bits": Tolerance(
        0.01, 0, "mean over a mask: where a float32 sum tips a code, 1/127 of a range; 0.0036 measured, 0.027 if wrong"
    ),
    "normalised pixels": Tolerance(1e-5, 0, "float32 values of up to 3, normalised in one step or in two"),
    "grey levels": Tolerance(0.75, 0, "rounded to whole numbers; torchvision's luma weights have four decimals"),
    "scores in bfloat16": Tolerance(1e-2, 0, "eight bits of values of up to 1, through a convolution"),
    "loss in float32": Tolerance(1e-6, 1e-5, "float32 sums against float64 ones: a hundred roundings"),
    "engine boxes": Tolerance(1e-2, 0, "px; fp32 of other libraries: sums in another order, times 100 px"),
    "batched boxes": Tolerance(1e-2, 0, "px; float32 convolutions of the same image alone and in a padded batch"),
    "engine scores": Tolerance(1e-4, 0, "fp32 of other libraries: logits summed in another order"),
    "engine masks": Tolerance(1e-3, 0, "probabilities, in fp32; but for pixels that change sides of the boundary"),
    "sampling weights": Tolerance(2e-6, 2e-6, "a bin's samples summed in float32, against float64"),
    "roi_align float32": Tolerance(1e-4, 1e-5, "float32 coordinates, times the map's slope; measured 1.5e-5"),
    "roi_align float16": Tolerance(1e-4, 2**-11, "the result rounded to float16"),
    "roi_align bfloat16": Tolerance(1e-4, 2**-8, "the result rounded to bfloat16"),
    "selected proposals": Tolerance(1e-3, 1e-5, "px: float32 exponential of another library, times 512 px"),
    "boundary merge": Tolerance(2e-5, 1e-5, "float32 interpolation weights: exact fractions against rounded scales"),
    "label logits of a kernel": Tolerance(2e-6, 2e-6, "float32 sums of up to 320 products, logits near 1"),
    "label logits float32": Tolerance(2e-6, 2e-6, "equal but for the order of float32 sums, logits near 1"),
    "label logits float16": Tolerance(
        5e-3, 2**-9, "PyTorch rounds products, upsampled and summed logits to float16, five times; a kernel never does"
    ),
    "label logits bfloat16": Tolerance(4e-2, 2**-6, "likewise to bfloat16, with three bits less"),
    "memory after long work": Tolerance(
        32, 0.05, "MiB of resident memory: what allocators keep in pieces; a mask that leaked each time would be more"
    ),
    "outlines of YOLO": Tolerance(6e-5, 0, "px; six digits of a fraction of 30 px, twice for a width"),
    "losses of shared batches": Tolerance(1e-5, 1e-4, "float32 sums in another order, over four updates"),
}


def assert_near(found: Any, expected: Any, name: str) -> None:
    """Every value is what is expected, within the tolerance of that name. Takes arrays, lists and tensors."""
    tolerance = TOLERANCES[name]
    np.testing.assert_allclose(
        np.asarray(found),
        np.asarray(expected),
        atol=tolerance.absolute,
        rtol=tolerance.relative,
        err_msg=f"{name}: {tolerance.reason}",
    )
