"""From detections in a GPU's memory to the host: only what is needed, asynchronously, through page-locked memory.

Everything runs on PyTorch's current stream. A prediction needs the run lengths of a mask alone, so they are found on
the GPU, and its probabilities stay there.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from refinemask import prediction
from refinemask.masks import NOT_FINITE, RLE
from refinemask.outputs import check_counts, check_layout
from refinemask.structures import Detections, ImageDetections
from trt_plugins import kernels_path
from trt_plugins.c_api import NOT_FINITE_RUNS, Kernels
from trt_plugins.torch_kernels import STRING_BYTES_PER_RUN, PastedMasks, TorchKernels

RUNS_PER_COLUMN = 16
"""Room for the runs of a mask, for each column of the image; where it is too little, the paste is repeated."""
EXPECTED_STRING_BYTES = 192 * 1024
"""Bytes of an image's strings that are copied before their number is known; more of them cost a second wait."""

Shapes = Sequence[tuple[int, int]]


def encode(detections: Detections, scale_factors: np.ndarray, image_shapes: Shapes) -> list[ImageDetections]:
    """``refinemask.prediction.encode`` of tensors on a GPU, where the masks are pasted.

    Where the kernels have not been built, the masks are copied and pasted on the host, and one warning says so.

    Raises:
        ValueError: a value of a mask or box is not finite, or an output has another type, shape or number.
        KernelError: an image has 2^31 pixels or more.
    """
    check_layout(detections, len(image_shapes))
    kernels = device_kernels()
    if kernels is None:
        on_host = download(detections)
        check_counts(on_host.num_detections, on_host.scores.shape[1])
        return prediction.encode(on_host, scale_factors, image_shapes)
    paste = partial(
        kernels.paste_rle,
        detections.masks,
        detections.boxes,
        image_shapes,
        scale_factors=scale_factors,
        num_detections=detections.num_detections,
    )
    # The counts are checked with the rest, for one copy and one wait: the kernels take any.
    rles, (boxes, scores, labels, counts) = _encode(paste, image_shapes, detections[:4])
    check_counts(counts, scores.shape[1])
    found = []
    for index, scale in enumerate(scale_factors):
        real = slice(len(rles[index]))
        # Copies, because whoever keeps them must not keep page-locked memory.
        kept = boxes[index, real] / scale, scores[index, real].copy(), labels[index, real].copy()
        found.append(ImageDetections(*kept, rles[index]))
    return found


def paste_rle(kernels: TorchKernels, masks: Tensor, boxes: Tensor, height: int, width: int) -> list[RLE]:
    """``refinemask.masks.paste_rle`` of tensors on a GPU.

    Args:
        kernels: the kernels for the tensors' device.
        masks: [N, M, M] float32 probabilities.
        boxes: [N, 4] float32 (x1, y1, x2, y2) in pixels of the image.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        The encoding [height, width] of each mask.

    Raises:
        ValueError: a value of a mask or box is not finite.
        KernelError: the image has 2^31 pixels or more.
    """
    shapes = [(height, width)]
    ([rles], _) = _encode(partial(kernels.paste_rle, masks[None], boxes[None], shapes), shapes)
    return rles


def download(detections: Detections) -> Detections:
    """The same detections as NumPy arrays. Places behind the last detection are zero and are not copied.

    Raises:
        OutputError: an output is of another type or shape.
    """
    check_layout(detections, len(detections.num_detections))
    [counts] = to_host(detections.num_detections)
    found = int(counts.max(initial=0))
    copied = [name for name in Detections._fields if name != "num_detections"]
    tensors = [getattr(detections, name) for name in copied]
    arrays = to_host(*(tensor[:, :found] for tensor in tensors))
    padded = [_padded(array, tensor.shape[1]) for array, tensor in zip(arrays, tensors, strict=True)]
    return Detections(num_detections=counts, **dict(zip(copied, padded, strict=True)))


@cache
def device_kernels() -> TorchKernels | None:
    """The kernels; None, with one warning that names the command, where they have not been built."""
    try:
        return TorchKernels(Kernels(kernels_path()))
    except FileNotFoundError as error:
        warnings.warn(f"masks leave the GPU as floats and are pasted on the host, slowly: {error}", stacklevel=3)
        return None


def to_host(*tensors: Tensor) -> list[np.ndarray]:
    """Copies of the tensors in page-locked memory, when all of them have arrived."""
    copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda) for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    if tensors[0].is_cuda:
        torch.cuda.current_stream(tensors[0].device).synchronize()
    return [copy.numpy() for copy in copies]


def _encode(
    paste: Callable[..., PastedMasks], image_shapes: Shapes, also: Sequence[Tensor] = ()
) -> tuple[list[list[RLE]], list[np.ndarray]]:
    """The encodings of each image's masks, and the other tensors on the host."""
    capacity = RUNS_PER_COLUMN * max(width for _, width in image_shapes)
    while True:
        pasted = paste(capacity=capacity)
        header_bytes = pasted.header_bytes
        expected = header_bytes + EXPECTED_STRING_BYTES * len(image_shapes)
        memory, *others = to_host(pasted.memory[:expected], *also)
        num_runs, num_bytes = memory[:header_bytes].view(np.int32).reshape(2, -1).tolist()
        if NOT_FINITE_RUNS in num_runs:
            raise ValueError(NOT_FINITE)
        total = sum(num_bytes)
        needed = max(0, *num_runs, math.ceil(total / (STRING_BYTES_PER_RUN * max(len(num_runs), 1))))
        if needed <= capacity:
            break
        capacity = needed
    strings = memory[header_bytes : header_bytes + total].tobytes()
    if total > len(strings):
        strings += to_host(pasted.strings[len(strings) : total])[0].tobytes()
    starts = [0, *accumulate(num_bytes)]
    places = len(num_runs) // len(image_shapes)
    rles: list[list[RLE]] = [
        [
            {"size": [height, width], "counts": strings[starts[place] : starts[place + 1]]}
            for place in range(index * places, (index + 1) * places)
            if num_runs[place] > 0
        ]
        for index, (height, width) in enumerate(image_shapes)
    ]
    return rles, others


def _padded(array: np.ndarray, places: int) -> np.ndarray:
    """The array [B, N, …] with zeros behind, up to [B, places, …]."""
    if array.shape[1] == places:
        return array
    padded = np.zeros((len(array), places, *array.shape[2:]), array.dtype)
    padded[:, : array.shape[1]] = array
    return padded
