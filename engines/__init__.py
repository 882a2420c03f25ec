"""Running a detector, whatever computes it: PyTorch, compiled or not, ONNX Runtime, OpenVINO or TensorRT.

    import engines

    model = engines.load("r50.onnx")
    for result in model.predict(["street.jpg", "yard.jpg"]):
        print(result.class_names, result.scores, result.masks().shape)
        result.save("out")

TensorRT runs what :func:`build_engine` makes of an exported file. :func:`compile_engine` makes of a checkpoint what
needs PyTorch alone. Importing this package loads no runtime: each is heavy, some are optional, and only the one asked
for is imported.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.base import Engine
from engines.trt.precision import PrecisionNotMetError
from engines.trt.sidecar import Sidecar, say_if_unchecked
from refinemask.contract import Bounds, InputError
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.readable import require_readable
from refinemask.selection import Selection

if TYPE_CHECKING:
    from engines.compiled.sidecar import CompiledSidecar
    from engines.trt.api import Flavour
    from engines.trt.plan import TilingLevel

__all__ = [
    "Bounds",
    "Engine",
    "InputError",
    "PrecisionNotMetError",
    "Sidecar",
    "build_engine",
    "check_engine",
    "compile_engine",
    "load",
]

BACKENDS = {
    ".safetensors": ("pytorch",),
    ".pt2": ("compiled",),
    ".onnx": ("onnxruntime", "openvino"),
    ".engine": ("tensorrt", "pycuda"),
}
"""Names of the engines that can run a file, by its ending; the first is the default."""
DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,3})?")
"""Devices that an engine may compute on; one of several GPUs is PyTorch's alone."""
MOST_THREADS = 1024
"""CPU threads that an engine may have; PyTorch and OpenMP end the process where the system gives them fewer."""
SLOTS_OF_A_GPU = 2
"""Batches that a GPU computes at the same time, if nobody asks for another number."""


def load(
    path: str | os.PathLike[str],
    *,
    backend: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    trust_engine: bool = False,
    slots: int | None = None,
    cuda_graph: bool = True,
    kernels: bool = True,
    detections: int | None = None,
    score_threshold: float | None = None,
) -> Engine:
    """Open a checkpoint or an exported file with the engine its ending calls for.

    ``.safetensors`` runs in PyTorch, ``.pt2`` is compiled PyTorch, ``.onnx`` runs in ONNX Runtime or, with
    ``backend="openvino"``, in OpenVINO, ``.engine`` in TensorRT with PyTorch's buffers or, with ``backend="pycuda"``,
    without PyTorch.

    Args:
        path: the file.
        backend: ``pytorch``, ``compiled``, ``onnxruntime``, ``openvino``, ``tensorrt`` or ``pycuda``; None chooses by
            the ending.
        precision: None is the file's own, ``fp32`` for a checkpoint. PyTorch can run a checkpoint in ``bf16`` and, on
            a GPU, in ``tf32`` or ``fp16``; OpenVINO an fp32 file in ``bf16``, and what an int8 file does not round in
            ``int8+fp32``, which is its own, or ``int8+bf16``; ONNX Runtime an fp32 file in ``tf32`` on a GPU.
        threads: CPU threads, 1 to 1024; None leaves the number to the engine. TensorRT computes on the GPU.
        device: ``cpu`` or ``cuda``, for PyTorch also one of several GPUs, ``cuda:1``; TensorRT has ``cuda`` only.
        trust_engine: load a TensorRT engine without a sidecar: it can run any code.
        slots: how many batches, of as many threads, may be computed at the same time (backends ``tensorrt``
            and, on a GPU, ``compiled``, where None is 2: one is computed while the results of another are copied).
            A slot takes memory of the GPU from the moment when so many batches come at once.
        cuda_graph: record the work for each input shape once and replay it: one launch instead of hundreds
            (backends ``tensorrt`` and, on a GPU, ``compiled``).
        kernels: on a GPU, run this project's kernels where their library is built, or with False torchvision's
            operators (backend ``pytorch`` only).
        detections: largest number of detections per image, 1 to 3840; None is the file's. Only a checkpoint can give
            more than that.
        score_threshold: score above which a detection counts; None is the file's. Only a checkpoint can have a lower
            one.

    Raises:
        UserError: the file is missing or not ours, the runtime is not installed, or the request cannot be met exactly.
    """
    path = Path(path)
    selection = Selection(detections=detections, score_threshold=score_threshold)
    backend = backend_of(path, backend)
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
        raise UserError(f"{path}: cannot run on {threads!r} threads (--threads); expected 1 to {MOST_THREADS}")
    if not DEVICE.fullmatch(device):
        raise UserError(f"{path}: there is no device '{one_line(device)}' (--device); expected cpu or cuda")
    if slots is not None and slots < 1:
        raise UserError(f"{path}: cannot run in {slots} slots; expected at least 1")
    common: dict[str, Any] = {"precision": precision, "device": device}
    records = backend == "tensorrt" or (backend == "compiled" and device != "cpu")
    _refuse_options(path, backend, device, slots=slots in (None, 1) or records, cuda_graph=cuda_graph or records)
    _refuse_options(path, backend, device, kernels=kernels or backend == "pytorch")
    slots = slots or (SLOTS_OF_A_GPU if records else 1)
    engine: Engine
    with needed_by(f"{path}: backend '{backend}'", extra=backend):
        if backend == "tensorrt":
            from engines.trt.torch_runner import TensorRTEngine

            engine = TensorRTEngine(path, **common, trust=trust_engine, slots=slots, cuda_graph=cuda_graph)
        elif backend == "compiled":
            from engines.compiled.engine import CompiledEngine

            engine = CompiledEngine(path, **common, threads=threads, slots=slots, cuda_graph=cuda_graph)
        elif backend == "pytorch":
            from engines.torch_engine import TorchEngine

            return TorchEngine(path, **common, threads=threads, kernels=kernels, selection=selection)
        elif backend == "onnxruntime":
            from engines.onnxruntime_engine import OnnxRuntimeEngine

            engine = OnnxRuntimeEngine(path, **common, threads=threads)
        elif backend == "openvino":
            from engines.openvino.engine import OpenVINOEngine

            engine = OpenVINOEngine(path, **common, threads=threads)
        else:
            from engines.trt.pycuda_runner import PycudaEngine

            engine = PycudaEngine(path, **common, trust=trust_engine)
    engine.select(selection)
    if backend in BACKENDS[".engine"]:
        say_if_unchecked(path)
    return engine


def backend_of(path: Path, backend: str | None) -> str:
    """The engine that runs a file: the one that is asked for, or the first that its ending calls for.

    Raises:
        UserError: there is none, that one cannot run it, or the file cannot be read.
    """
    if path.suffix not in BACKENDS:
        kind = "directories" if path.is_dir() else f"'{one_line(path.suffix)}' files" if path.suffix else "such files"
        line = f"{path}: no engine for {kind}; expected {', '.join(BACKENDS)}"
        raise UserError(f"{line}; {remedy}" if (remedy := _remedy(path)) else line)
    possible = BACKENDS[path.suffix]
    if backend not in (None, *possible):
        raise UserError(f"{path}: backend '{backend}' cannot run it; expected {' or '.join(possible)}")
    require_readable(path)
    return backend or possible[0]


def _remedy(path: Path) -> str:
    """What makes a file that an engine can run of another one; empty where nothing is known."""
    ending = path.suffix.lower()
    if path.is_dir():
        return "name a file in it"
    if ending in BACKENDS:
        return f"rename it: {path.with_suffix(ending).name}"
    if ending in (".pth", ".pt"):
        return f"an official one is converted first: python -m refinemask.convert {path} -o OUTPUT.safetensors"
    if ending in (".xml", ".bin"):
        return "OpenVINO runs the .onnx file itself: name that one"
    if ending in (".plan", ".trt"):
        return f"rename an engine of TensorRT and its sidecar: {path.with_suffix('.engine').name}"
    return ""


def _refuse_options(path: Path, backend: str, device: str, **fits: bool) -> None:
    for option, fitting in fits.items():
        if not fitting:
            raise UserError(f"{path}: backend '{backend}' has no {option} on device '{device}'; leave it out")


def build_engine(
    onnx: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    precision: str | None = None,
    flavour: "Flavour | None" = None,
    plugins: str | os.PathLike[str] | None = None,
    bodies: bool = False,
    opt_shape: tuple[int, int, int] | None = None,
    max_shape: tuple[int, int, int] | None = None,
    capabilities: tuple[str, ...] = (),
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    timing_cache: str | os.PathLike[str] | None = None,
    workspace_mib: int | None = None,
    optimization_level: int | None = None,
    tiling_level: "TilingLevel | None" = None,
    auxiliary_streams: int | None = None,
    trtexec: str | None = None,
    images: str | os.PathLike[str] | None = None,
    check: bool = True,
) -> Sidecar:
    """Build a TensorRT engine from an exported file, and prove what it is and that it computes what the file does.

    On a machine with a GPU the engine is compared, at the corners of its profile, with ONNX Runtime on the exported
    file, and row by row with itself at batch 1. That takes minutes: ONNX Runtime computes on the CPU.

    This writes the engine, its layers (``OUTPUT.layers.json``) and its sidecar (``OUTPUT.json``). Nothing is written
    unless all went well.

    Args:
        onnx: a file of ``export.to_onnx`` or ``export.quantize``, exported with ``--masks all``.
        output: the engine file to write.
        precision: ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``fp8`` to insist on; the file decides, and the build is
            checked either way. ``tf32`` lets an fp32 file compute in TensorFloat-32, which is off otherwise.
        flavour: ``tensorrt`` or ``tensorrt_rtx``; None is the one that is installed, TensorRT first.
        plugins: the plugin library; None is the one that ``trt_plugins.build`` makes.
        bodies: build the custom operators from their bodies of standard operators, without plugins.
        opt_shape: batch, height and width to tune for; None is the typical ones of the file.
        max_shape: largest batch, height and width to build for; None is the largest ones that the file takes.
        capabilities: compute capabilities, such as ``8.9``, to build for without a GPU (TensorRT-RTX).
        version_compatible: the engine runs in newer TensorRT of the same major version too, a little slower.
        hardware_compatible: the engine runs on newer GPUs too, from Ampere on, but slower.
        timing_cache: file that makes the next build faster.
        workspace_mib: scratch memory in MiB; None is the whole GPU.
        optimization_level: how long TensorRT searches for fast kernels, from 0 to 5; None is TensorRT's own, 3.
        tiling_level: how much it searches for ways to keep parts of maps in the GPU's cache: ``none``, ``fast``,
            ``moderate`` or ``full`` (TensorRT 10.8 or newer); None is TensorRT's own, none.
        auxiliary_streams: most streams beside the main one, 0 for none; None is TensorRT's choice.
        trtexec: the ``trtexec`` to build with, instead of the Python package.
        images: directory with pictures for the comparison; None is the bundled ones.
        check: whether to compare; the sidecar tells.

    Returns:
        What the sidecar says: versions, hashes, the share of each precision, what was compared, the command that builds
        it again.

    Raises:
        UserError: the request contradicts the file or itself, or TensorRT or the plugin library is missing or refuses.
        PrecisionNotMetError: too few layers compute in the precision of the file.
        refinemask.FailedCheckError: the engine's detections differ at a corner of its profile.
    """
    from engines.trt.plan import BuildOptions, make_plan
    from engines.trt.verified_build import build_verified

    options = BuildOptions(
        precision=precision,
        flavour=flavour,
        plugins=None if plugins is None else Path(plugins),
        bodies=bodies,
        opt_shape=opt_shape,
        max_shape=max_shape,
        capabilities=capabilities,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        timing_cache=None if timing_cache is None else Path(timing_cache),
        workspace_mib=workspace_mib,
        optimization_level=optimization_level,
        tiling_level=tiling_level,
        auxiliary_streams=auxiliary_streams,
        trtexec=trtexec,
    )
    pictures = None if images is None else Path(images)
    return build_verified(make_plan(Path(onnx), options), Path(output), images=pictures, check=check)


def check_engine(
    path: str | os.PathLike[str],
    *,
    onnx: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    trust_engine: bool = False,
) -> Sidecar:
    """Check a TensorRT engine as :func:`build_engine` does, and write what was found into its sidecar.

    This is for engines that were built with ``check=False``, ahead of time, by an older version of this project, or by
    ``trtexec`` by hand.

    Args:
        path: the engine file, with its sidecar.
        onnx: the exported file that it was built from; None is the one that the sidecar names, beside the engine.
        images: directory with pictures for the comparison; None is the bundled ones.
        trust_engine: load an engine without a sidecar, which can run any code, and write its sidecar if it passes. It
            must have been built here, from the exported file of the same name.

    Returns:
        The completed sidecar.

    Raises:
        UserError: the engine cannot be loaded here, or the exported file is missing or another one.
        refinemask.FailedCheckError: the detections differ; the sidecar says so from then on.
    """
    from engines.trt.verified_check import check_built

    return check_built(
        Path(path),
        onnx=None if onnx is None else Path(onnx),
        images=None if images is None else Path(images),
        trust=trust_engine,
    )


def compile_engine(
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    device: str = "cuda",
    precision: str | None = None,
    canvases: Sequence[tuple[int, int]] | None = None,
    batch: int = 1,
    images: str | os.PathLike[str] | None = None,
    check: bool = True,
) -> "CompiledSidecar":
    """Compile a checkpoint ahead of time for this machine's GPU or CPU, and prove that it agrees with eager PyTorch.

    This writes the package and its sidecar (``OUTPUT.json``). Nothing is written unless all went well. It takes
    minutes: the code is made for each size.

    Args:
        checkpoint: the .safetensors file.
        output: the .pt2 file to write.
        device: ``cuda`` or ``cpu``.
        precision: ``fp16``, ``bf16``, ``tf32`` or ``fp32`` on a GPU, where None is fp16; ``fp32`` or ``bf16`` on a CPU,
            where None is fp32.
        canvases: padded (height, width) to compile for; None is landscape and portrait as the model's preprocessing
            makes them.
        batch: number of images that are computed together; fewer are filled up.
        images: directory with pictures for the comparison; None is the bundled ones.
        check: whether to compare; the sidecar tells.

    Returns:
        What the sidecar says: versions, hashes, how many detections agree, the command that compiles it again.

    Raises:
        UserError: the checkpoint cannot be used, the request contradicts itself, or this machine cannot meet it.
        refinemask.agreement.MismatchError: too few detections agree.
    """
    from engines.compiled.build import compile_verified

    return compile_verified(
        Path(checkpoint),
        Path(output),
        device=device,
        precision=precision,
        canvases=canvases,
        batch=batch,
        images=None if images is None else Path(images),
        check=check,
    )
