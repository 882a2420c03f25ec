"""A compiled package as an engine like the others."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engines import on_device
from engines.canvases import Size
from engines.compiled.places import place_counts
from engines.compiled.private_copy import private_copy, require_linux
from engines.compiled.program import Program, load_programs
from engines.compiled.recording import Recording
from engines.compiled.sidecar import CompiledSidecar, check_compiled_sidecar, read_compiled_sidecar
from engines.compiled.signals import held_signals
from engines.slots import SlottedEngine
from refinemask.files import UserError
from refinemask.foreign import foreign_errors
from refinemask.readable import require_readable
from refinemask.structures import Detections, ImageDetections
from trt_plugins import BUILD_COMMAND, torch_ops


class CompiledEngine(SlottedEngine):
    """A detector that :func:`engines.compile_engine` compiled, on a CPU or a CUDA GPU.

    On a GPU each slot has a stream of its own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        precision: str | None = None,
        threads: int | None = None,
        device: str = "cpu",
        slots: int = 1,
        cuda_graph: bool = True,
    ) -> None:
        """Open a package.

        Args:
            path: the package.
            precision: the precision that it must have been compiled in; None takes any.
            threads: CPU threads, PyTorch's own setting, which holds for the whole process.
            device: the device that it was compiled for.
            slots: how many batches a GPU may compute at the same time.
            cuda_graph: record the work for each size once, and replay it.

        Raises:
            UserError: the package has no sidecar, is not the file that its sidecar describes, or does not run here.
        """
        require_readable(path)
        sidecar = read_compiled_sidecar(path)
        if precision not in (None, sidecar.precision):
            raise UserError(f"{path}: was compiled in {sidecar.precision}, not in {precision}; compile another one")
        require_runnable(path, device)
        # What was hashed is what is loaded, though PyTorch takes a path.
        with private_copy(path) as (copy, digest):
            check_compiled_sidecar(sidecar, path, digest, device)
            if threads is not None:
                torch.set_num_threads(threads)
            programs = _programs(path, copy, sidecar)
        super().__init__(
            partial(CpuSlot, programs, sidecar.batch)
            if device == "cpu"
            else partial(GpuSlot, programs, sidecar, cuda_graph),
            slots,
            name="compiled PyTorch",
            config=sidecar.model_config(path),
            precision=sidecar.precision,
            device=device,
            bounds=sidecar.canvases,
            path=path,
        )
        self._full_batch = sidecar.batch

    @property
    def preferred_batch(self) -> int:
        """A full batch, on a CPU too: fewer images are filled up, and take as long."""
        return self._full_batch


def _programs(path: str | os.PathLike[str], copy: Path, sidecar: CompiledSidecar) -> dict[Size, Program]:
    with foreign_errors(f"{path}: PyTorch cannot load it", sidecar.again):
        try:
            return load_programs(copy, sidecar.sizes)
        except KeyError as error:
            raise UserError(
                f"{path}: holds no code for {error}, which its sidecar promises; {sidecar.again}"
            ) from error


def require_runnable(path: str | os.PathLike[str], device: str) -> None:
    """Raise a UserError unless this is Linux and has the device, and on a GPU our kernels; ``path`` names the file."""
    require_linux(path)
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        raise UserError(f"{path}: device '{device}' was asked for, but PyTorch sees no GPU; use --device cpu")
    if not torch_ops.enable_if_available():
        raise UserError(f"{path}: compiled code needs the CUDA kernels, which are not built; {BUILD_COMMAND}")


class CpuSlot:
    """A batch on the CPU."""

    def __init__(self, programs: dict[Size, Program], batch: int) -> None:
        self._programs = programs
        self._batch = batch

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Keep the inputs, the last one as often as fills the batch."""
        self._count = len(images)
        index = np.minimum(np.arange(self._batch), self._count - 1)
        self._inputs = torch.from_numpy(images[index]), torch.from_numpy(image_sizes[index])

    @torch.no_grad()
    @held_signals()
    def run(self) -> None:
        """Compute the detections of the inputs, and masks for as many places as there are detections."""
        # See TorchEngine.run.
        torch.get_num_threads()
        images, image_sizes = self._inputs
        program = self._programs[images.shape[2], images.shape[3]]
        features = program.features(images, image_sizes)
        boxes, image_maps = program.boxes(features, image_sizes), program.image_maps(features)
        places = boxes.labels.shape[1]
        largest = int(boxes.num_detections[: self._count].max())
        # Without a detection, too: nothing else tells the masks' resolution.
        count = next(count for count in place_counts(places)[1:] if count >= largest)
        few = boxes.boxes[:, :count].contiguous(), boxes.labels[:, :count].contiguous()
        masks = F.pad(program.masks(features, image_maps, *few), (0, 0, 0, 0, 0, places - count))
        self.detections = Detections(*(x[: self._count] for x in (*boxes, masks)))

    def download(self) -> Detections:
        """The detections as NumPy arrays."""
        return self.detections.numpy()


class GpuSlot:
    """A stream of a GPU, and the recordings of the sizes seen so far."""

    def __init__(self, programs: dict[Size, Program], sidecar: CompiledSidecar, record: bool) -> None:
        self._programs = programs
        self._sidecar = sidecar
        self._record = record
        self.stream = torch.cuda.Stream(priority=-1)
        self._recordings: dict[Size, Recording] = {}

    def upload(self, images: np.ndarray, image_sizes: np.ndarray) -> None:
        """Copy the inputs to the device."""
        size, self._count = (images.shape[2], images.shape[3]), len(images)
        if size not in self._recordings:
            program, sidecar = self._programs[size], self._sidecar
            self._recordings[size] = Recording(
                program, sidecar.batch, size, self.stream, sidecar.precision, record=self._record
            )
        self._current = self._recordings[size]
        self._current.upload(images, image_sizes)
        self.stream.synchronize()

    def run(self) -> None:
        """Compute the detections of the inputs uploaded last."""
        self.detections = Detections(*(x[: self._count] for x in self._current.run()))
        self.stream.synchronize()

    def download(self) -> Detections:
        """The detections as NumPy arrays."""
        with torch.cuda.stream(self.stream):
            return on_device.download(self.detections)

    def encode(self, scale_factors: np.ndarray, image_shapes: Sequence[tuple[int, int]]) -> list[ImageDetections]:
        """The detections of each image, its masks pasted on the GPU; see :meth:`engines.base.Engine.encode`."""
        with torch.cuda.stream(self.stream):
            return on_device.encode(self.detections, scale_factors, image_shapes)
