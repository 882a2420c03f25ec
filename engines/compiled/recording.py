"""A program's work on a GPU for one size, recorded in CUDA graphs: one launch instead of hundreds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from engines.canvases import Size
from engines.compiled.places import place_counts
from engines.compiled.program import Program
from refinemask.float32 import float32_products
from refinemask.structures import Detections

WARM_UPS = 2
"""Runs before a recording: libraries choose their algorithms and allocate in the first ones."""


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """PyTorch's settings for work that is launched: a recording keeps what libraries choose under them.

    Threads that open this take turns.
    """
    with torch.no_grad(), float32_products(tf32=precision == "tf32"):
        benchmark = torch.backends.cudnn.benchmark
        try:
            torch.backends.cudnn.benchmark = True
            yield
        finally:
            torch.backends.cudnn.benchmark = benchmark


class Recording:
    """Inputs, outputs and CUDA graphs of one size on one stream.

    Boxes are one graph. Masks are one graph for each number of places, all reading what the boxes' graph left.
    """

    def __init__(
        self, program: Program, batch: int, size: Size, stream: torch.cuda.Stream, precision: str, *, record: bool
    ) -> None:
        """Allocate, warm up and record.

        Args:
            program: the compiled parts.
            batch: number of images.
            size: (height, width) of the images.
            stream: the stream that everything runs on.
            precision: arithmetic of float32 products: ``tf32``, or anything else for float32 itself.
            record: whether to record graphs; otherwise each run launches every kernel anew.
        """
        self._precision = precision
        self.program = program
        self.stream = stream
        # What runs beside the boxes fills the gaps that they leave: theirs is the longer way.
        self._beside = torch.cuda.Stream()
        self._record = record
        # Graphs of one stream never run at the same time, so they share the memory of what they do not keep.
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[int, Callable[[], None]] = {}
        with torch.cuda.stream(stream):
            self.images = torch.zeros(batch, 3, *size, dtype=torch.uint8, device="cuda")
            self.image_sizes = torch.tensor([size] * batch, dtype=torch.int64).cuda()
            self.staging = [torch.zeros_like(x, device="cpu").pin_memory() for x in (self.images, self.image_sizes)]
            self._counts = torch.zeros(batch, dtype=torch.int64).pin_memory()
            self.detect = self._recorded(self._detect)
            # What was recorded has not been computed, and masks of such boxes and labels would read anywhere.
            self.detect()
            self.masks = self._empty_masks()
        self._places = place_counts(self.boxes.labels.shape[1])

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Queue the copy of up to a batch of images; the places of missing ones keep what they held."""
        for host, device, array in zip(
            self.staging, (self.images, self.image_sizes), (images, image_sizes), strict=True
        ):
            host[: len(array)].numpy()[...] = array
            with torch.cuda.stream(self.stream):
                device[: len(array)].copy_(host[: len(array)], non_blocking=True)

    def run(self) -> Detections:
        """Compute the detections of what was uploaded, on the device; places of padding have masks of anything.

        The tensors are the recording's own: the next run overwrites them.
        """
        with torch.cuda.stream(self.stream):
            self.detect()
            # The number of masks is the host's decision, and needs these eight bytes.
            self.stream.synchronize()
            places = next(places for places in self._places if places >= int(self._counts.max()))
            if places:
                if places not in self._graphs:
                    self._graphs[places] = self._recorded(lambda: self._segment(places))
                self._graphs[places]()
        return Detections(*self.boxes, self.masks)

    def _detect(self) -> None:
        features = self.program.features(self.images, self.image_sizes)
        self._beside.wait_stream(self.stream)
        with torch.cuda.stream(self._beside):
            image_maps = self.program.image_maps(features)
        boxes = self.program.boxes(features, self.image_sizes)
        self.stream.wait_stream(self._beside)
        self._counts.copy_(boxes.num_detections, non_blocking=True)
        # Kept alive here, so that nothing is put in their place: the masks' graphs read them.
        self.features, self.image_maps, self.boxes = features, image_maps, boxes

    def _segment(self, places: int) -> None:
        boxes, labels = (x[:, :places].contiguous() for x in (self.boxes.boxes, self.boxes.labels))
        self.masks[:, :places] = self.program.masks(self.features, self.image_maps, boxes, labels)

    def _empty_masks(self) -> Tensor:
        boxes, labels = self.boxes.boxes[:, :2].contiguous(), self.boxes.labels[:, :2].contiguous()
        with arithmetic(self._precision):
            few = self.program.masks(self.features, self.image_maps, boxes, labels)
        return few.new_zeros(*self.boxes.labels.shape, *few.shape[2:])

    def _recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        """A call that does the work on this recording's stream, by replaying a graph where these are wanted."""

        def launch() -> None:
            with arithmetic(self._precision):
                work()

        for _ in range(WARM_UPS):
            launch()
        self.stream.synchronize()
        if not self._record:
            return launch
        graph = torch.cuda.CUDAGraph()
        # Threads of other slots may copy, replay and allocate meanwhile, which a global recording would forbid. What
        # launches or records waits: cuDNN's search empties PyTorch's cache of memory, and a recording begins with a
        # wait for the whole device, neither of which may happen while another thread records.
        with (
            arithmetic(self._precision),
            torch.cuda.graph(graph, self._pool, stream=self.stream, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay
