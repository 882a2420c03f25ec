"""An engine at the corners of its profile, beside ONNX Runtime on the exported file, and beside itself at batch 1."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine
from engines.trt.corners import (
    ROW_PARITY,
    Agreement,
    Corner,
    compare_images,
    corner_batches,
    corner_sizes,
    disagreement,
    summary,
)
from refinemask.agreement import PARITY, Parity, Runner, verification_images
from refinemask.contract import DOMAIN, Bounds, Metadata, read_onnx
from refinemask.data.transforms import NetworkInput, preprocess
from refinemask.extras import needed_by
from refinemask.files import FailedCheckError, UserError, sha256
from refinemask.foreign import foreign_errors
from refinemask.outputs import OutputError, check_detections
from refinemask.structures import Detections

Progress = Callable[[str, float], None]
"""Receiver of what is being done and the share of all that is done."""
Shape = tuple[int, int, int]
"""Batch, height and width."""
RUNS = 3
"""Runs of a batch: a runner records the second and replays the third, whose detections count."""


@dataclass(frozen=True)
class CheckRequest:
    """What is to be checked."""

    engine: str
    """The engine file; it has a sidecar, which has everything right but the check."""
    name: str
    """Name of the engine in errors, where the file has not got it yet."""
    onnx: str
    """The exported file that the engine was built from."""
    onnx_sha256: str
    """Its SHA-256, as the engine's sidecar has it."""
    images: str
    """Directory with pictures."""


def check_engine_file(request: CheckRequest, progress: Progress) -> list[Corner]:
    """Open an engine and check it.

    Raises:
        UserError: the exported file is another one, the engine cannot be opened, there are no pictures or no ONNX
            Runtime to compare with, or nothing is detected in the pictures.
        FailedCheckError: it does not agree, or fails, at one of the corners.
    """
    progress("loading", 0)
    onnx = Path(request.onnx)
    if (found := sha256(onnx)) != request.onnx_sha256:
        raise UserError(
            f"{onnx}: is not what {request.name} was built from: its SHA-256 is {found}, the engine's sidecar says "
            f"{request.onnx_sha256}; name that file with --onnx, or build the engine again: python -m engines.build"
        )
    try:
        engine = _open(Path(request.engine))
    except UserError as error:
        raise UserError(str(error).replace(request.engine, request.name)) from error
    images = verification_images(Path(request.images), window=engine.config.preprocessing.window)
    corners = check_corners(engine, reference(onnx), images, progress)
    if not any(corner.found for corner in corners):
        raise UserError(
            f"{request.images}: nothing is detected in these pictures, so nothing was compared with {request.name}; "
            "name a directory with others: --images"
        )
    return corners


def require_checkable(onnx: Path, images: Path, otherwise: str = "") -> None:
    """Raise a UserError unless there are pictures, ONNX Runtime and a runner, which a check needs.

    Args:
        onnx: the exported file.
        images: directory with pictures.
        otherwise: what else helps where a package is missing, the last words of the line.
    """
    verification_images(images, window=Metadata.of_file(onnx).config.preprocessing.window)
    with needed_by(f"{onnx}: the check of its engine", otherwise=otherwise):
        import onnxruntime  # noqa: F401

        if not _pytorch_sees_gpu():
            import pycuda.driver  # noqa: F401


def _open(path: Path) -> Engine:
    """The engine in the runner that users of this machine have."""
    if not _pytorch_sees_gpu():
        from engines.trt.pycuda_runner import PycudaEngine

        return PycudaEngine(path)
    from engines.trt.torch_runner import TensorRTEngine

    return TensorRTEngine(path)


def _pytorch_sees_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def reference(path: Path) -> Runner | None:
    """The exported file in ONNX Runtime on the CPU; None if it has no bodies for its custom operators.

    A bf16 file runs as the same graph in float32.

    Raises:
        UserError: the file cannot be read, or ONNX Runtime is missing or cannot load it.
    """
    model = read_onnx(path)
    custom = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    if custom - {function.name for function in model.functions}:
        return None
    from refinemask.onnx_session import cpu_runner

    if Metadata.of_model(model, path).precision != "bf16":
        return cpu_runner(path)
    from refinemask.widened import widen

    return cpu_runner(widen(read_onnx(path, weights=True)).SerializeToString(), path)


def check_corners(
    engine: Engine, reference: Runner | None, images: Sequence[NDArray[np.uint8]], progress: Progress
) -> list[Corner]:
    """Compare an engine at the smallest, the usual and the largest shape, at batch 1, 2 and the largest.

    Each image is computed once for each size by the reference, and once alone by the engine, after runs that a runner
    records.

    Args:
        engine: the engine; its bounds are those of its profile.
        reference: the exported file; None compares the engine with itself alone.
        images: decoded pictures; a batch of more repeats them.
        progress: told before each run what is being done.

    Raises:
        FailedCheckError: the detections differ, or the engine fails; the message names the corner.
    """
    assert isinstance(engine.bounds, Bounds)
    sizes, batches = corner_sizes(engine.bounds), corner_batches(engine.bounds)
    steps = len(sizes) * (2 * len(images) + RUNS - 1 + RUNS * sum(batch > 1 for batch in batches))
    done = iter(range(steps))

    def step(what: str, shape: Shape) -> None:
        progress(f"{what} {'x'.join(map(str, shape))}", next(done) / steps)

    return [corner for size in sizes for corner in _Size(engine, reference, images, size, step).corners(batches)]


class _Size:
    """All corners of one size, and what they share: the detections of each image alone."""

    def __init__(
        self,
        engine: Engine,
        reference: Runner | None,
        images: Sequence[NDArray[np.uint8]],
        size: tuple[int, int],
        step: Callable[[str, Shape], None],
    ) -> None:
        self.engine = engine
        self.size = size
        self.step = step
        self.inputs = [preprocess([image], engine.config.preprocessing, size) for image in images]
        self.expected = None if reference is None else self._by_reference(reference)
        for each in islice(cycle(reversed(self.inputs)), RUNS - 1):
            self._run_alone(each)
        self.alone = [self._run_alone(each) for each in self.inputs]

    def corners(self, batches: Sequence[int]) -> Iterator[Corner]:
        """The corner of each batch; at batch 1 all images, one after the other."""
        precision, threshold = self.engine.precision, self.engine.config.box_head.score_threshold

        def beside(shape: Shape, others: list[Detections] | None, parity: Parity, whose: str) -> Agreement | None:
            if others is None:
                return None
            expected = islice(cycle(others), len(rows))
            comparisons = compare_images(shape, list(expected), rows, parity, threshold)
            if reason := disagreement(comparisons, parity):
                raise FailedCheckError(f"{_at(shape)}: beside {whose} {reason}")
            return summary(comparisons, parity)

        for batch in batches:
            shape = batch, *self.size
            rows = self.alone if batch == 1 else self._run_recorded(list(islice(cycle(self.inputs), batch)))
            yield Corner(
                shape=shape,
                found=int(sum(row.num_detections[0] for row in rows)),
                onnxruntime=beside(shape, self.expected, PARITY[precision], "ONNX Runtime on the exported file"),
                rows=None if batch == 1 else beside(shape, self.alone, ROW_PARITY[precision], "each image alone"),
            )

    def _run_alone(self, image: NetworkInput) -> Detections:
        """The detections of one image in the smallest batch, which is filled up with the same image."""
        return self._run([image] * self.engine.smallest_batch)[0]

    def _run_recorded(self, images: list[NetworkInput]) -> list[Detections]:
        """The detections of a batch in a run that replays what an earlier one recorded.

        The runs before it have the images in another order, so that what a recording keeps of them shows.
        """
        for _ in range(RUNS - 1):
            self._run(images[1:] + images[:1])
        return self._run(images)

    def _run(self, images: Sequence[NetworkInput]) -> list[Detections]:
        """The engine's detections of a batch, each image as a batch of one."""
        shape = len(images), *self.size
        self.step("checking", shape)
        batch = _together(images)
        try:
            with foreign_errors("it fails"):
                found = self.engine.download(self.engine.run(self.engine.upload(batch.images, batch.image_sizes)))
            check_detections(found, len(images), self.engine.config.num_classes)
            _require_order(found)
        except UserError as error:
            reason = str(error).removeprefix(f"{self.engine.path}: ")
            raise FailedCheckError(f"{_at(shape)}: {reason}") from error
        return _rows(found)

    def _by_reference(self, reference: Runner) -> list[Detections]:
        """The reference's detections of each image, in batches of the smallest size."""
        smallest = self.engine.smallest_batch
        found: list[Detections] = []
        while len(found) < len(self.inputs):
            self.step("ONNX Runtime", (smallest, *self.size))
            found += _rows(reference(_together(list(islice(cycle(self.inputs), len(found), len(found) + smallest)))))
        return found[: len(self.inputs)]


def _together(images: Sequence[NetworkInput]) -> NetworkInput:
    return NetworkInput(*(np.concatenate(arrays) for arrays in zip(*images, strict=True)))


def _rows(found: Detections) -> list[Detections]:
    return [Detections(*(field[row : row + 1] for field in found)) for row in range(len(found.boxes))]


def _require_order(found: Detections) -> None:
    """Raise an :class:`OutputError` unless the detections of each image stand in the order of their scores."""
    for image, count in enumerate(found.num_detections.tolist()):
        if (np.diff(found.scores[image, :count]) > 0).any():
            raise OutputError(f"its output scores is not in descending order (image {image} of the batch)")


def _at(shape: Shape) -> str:
    return f"at batch {shape[0]}, height {shape[1]}, width {shape[2]}"
