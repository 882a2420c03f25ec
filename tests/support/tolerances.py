"""Every numeric tolerance of the tests, each with its reason."""

from typing import NamedTuple


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
    "onnx runtime": Tolerance(1e-4, 0, "scores and mask probabilities of two float32 libraries, on tiny networks"),
    "onnx runtime boxes": Tolerance(1e-2, 0, "input pixels, likewise"),
    "onnx reference evaluator": Tolerance(1e-6, 1e-5, "one convolution in fp32, summed in another order"),
    "mask sample position": Tolerance(1e-5, 0, "float32 pixel positions in a mask, times the mask's slope"),
    "pasted pixels": Tolerance(2, 0, "pixels of all golden masks: float32 sampling decides a value of one half"),
    "average precision": Tolerance(1e-12, 0, "the same counts as the reference; the means sum in another order"),
    "loss in float32": Tolerance(1e-6, 1e-5, "oracle.md asks 1e-5; float32 sums against float64 ones"),
    "engine boxes": Tolerance(1e-2, 0, "px; ONNX Runtime and OpenVINO fp32 against PyTorch, design section 7"),
    "batched boxes": Tolerance(1e-2, 0, "px; float32 convolutions of the same image alone and in a padded batch"),
    "engine scores": Tolerance(1e-4, 0, "ONNX Runtime and OpenVINO fp32 against PyTorch, design section 7"),
    "engine masks": Tolerance(1e-3, 0, "probabilities, in fp32; but for pixels that change sides of the boundary"),
    "sampling weights": Tolerance(2e-6, 2e-6, "a bin's samples summed in float32, against float64"),
    "roi_align float32": Tolerance(1e-4, 1e-5, "float32 coordinates, times the map's slope; measured 1.5e-5"),
    "roi_align float16": Tolerance(1e-4, 2**-11, "the result rounded to float16"),
    "roi_align bfloat16": Tolerance(1e-4, 2**-8, "the result rounded to bfloat16"),
    "boundary merge": Tolerance(2e-5, 1e-5, "float32 interpolation weights: exact fractions against rounded scales"),
    "losses of shared batches": Tolerance(1e-5, 1e-4, "float32 sums in another order, over four updates"),
}
