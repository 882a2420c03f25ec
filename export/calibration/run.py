"""Running an exported file on images, and counting what its layers read. An interrupted run goes on where it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from export.calibration.histogram import BINS, Histogram
from export.calibration.images import Choice
from export.qdq import kept_layers, layers
from export.reading import read_model
from refinemask.config_json import from_json, to_json
from refinemask.contract import Metadata
from refinemask.data.transforms import preprocess
from refinemask.files import UserError, atomic_write
from refinemask.foreign import foreign_errors
from refinemask.json_files import Positive
from refinemask.readable import require_readable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class _Done:
    """The histograms of the first images of a run."""

    images: int
    histograms: dict[str, Histogram]


@dataclass(frozen=True, kw_only=True)
class _State:
    """What a file of progress says beside its arrays."""

    origin: dict[str, str]
    layers: tuple[str, ...]
    images: Positive


def measure_histograms(model: Path, choice: Choice, progress: Path, identity: str) -> dict[str, Histogram]:
    """The magnitudes that each layer reads which may be quantised, over all images.

    One batch is in memory at a time. After each one the histograms are written to a file, from which a run of the same
    model and images goes on.

    Args:
        model: the exported file, with bodies.
        choice: the images.
        progress: the file for the histograms so far; it stays.
        identity: SHA-256 of the model, as the user has it.

    Returns:
        The histograms by the layers' names; layers that read the same tensor have the same histogram.

    Raises:
        UserError: ``progress`` is of another run, ONNX Runtime fails, or a layer reads no usable numbers.
    """
    origin = {"model": identity, "images": choice.sha256, "bins": str(BINS)}
    inputs = _layer_inputs(read_model(model).graph)
    total = len(choice.calibration)
    done = _read_progress(progress, origin, tuple(inputs), total) if progress.exists() else _Done(0, {})
    metadata = Metadata.of_file(model)
    size = metadata.bounds.batch[0]
    with tqdm(total=total, initial=done.images, desc="calibrating", unit="image", disable=None) as bar:
        for start, counted in _counted_batches(model, metadata, choice, done.images, size):
            merged = {
                name: done.histograms[name].merged(histogram) if done.histograms else histogram
                for name, histogram in counted.items()
            }
            done = _Done(min(start + size, total), merged)
            _write_progress(progress, origin, done)
            bar.update(done.images - bar.n)
    return {name: done.histograms[first] for first, names in inputs.items() for name in names}


def _layer_inputs(graph: ir.Graph) -> dict[str, list[str]]:
    """The names of the layers that read each tensor and may be quantised, by the first of them."""
    kept, readers = kept_layers(graph), dict[str, list[str]]()
    firsts = dict[ir.Value, str]()
    for name, node in layers(graph).items():
        if name not in kept and node.inputs[0] is not None:
            readers.setdefault(firsts.setdefault(node.inputs[0], name), []).append(name)
    return readers


def _counted_batches(
    model: Path, metadata: Metadata, choice: Choice, start: int, size: int
) -> Iterator[tuple[int, dict[str, Histogram]]]:
    """The number of the first image of each batch from ``start`` on, and the histograms of the batch."""
    from refinemask.onnx_session import run_session

    graph = read_model(model)
    named = layers(graph.graph)
    values = {name: value for name in _layer_inputs(graph.graph) if (value := named[name].inputs[0]) is not None}
    graph.graph.outputs.extend(value for value in values.values() if value not in graph.graph.outputs)
    session = _session(ir.to_proto(graph).SerializeToString(), model)
    canvas = metadata.bounds.height[1], metadata.bounds.width[1]
    for first in range(start, len(choice.calibration), size):
        # A file that takes no smaller batch sees some images of the last one twice.
        paths = [choice.calibration[min(first + place, len(choice.calibration) - 1)] for place in range(size)]
        batch = preprocess([choice.read(path) for path in paths], metadata.config.preprocessing, canvas)
        outputs = run_session(session, batch, model, [str(value.name) for value in values.values()])
        yield first, {name: _histogram(outputs.pop(0), name, paths) for name in values}


def _session(graph: bytes, model: Path) -> "InferenceSession":
    import onnxruntime

    from refinemask.onnx_session import session_options

    options = session_options(torch.get_num_threads())
    # The arena grows by doubling, and what the layers read is most of the memory: it would hold nearly twice of that.
    options.enable_cpu_mem_arena = False
    with foreign_errors(f"{model}: ONNX Runtime cannot load it"):
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _histogram(values: NDArray[np.floating], layer: str, paths: Sequence[Path]) -> Histogram:
    try:
        return Histogram.of(values)
    except ValueError as error:
        raise UserError(f"{paths[0]}: cannot be calibrated on: in what {layer} reads there, {error}") from error


def _write_progress(path: Path, origin: dict[str, str], done: _Done) -> None:
    histograms = list(done.histograms.values())
    arrays = {
        "counts": np.stack([histogram.counts for histogram in histograms]),
        "exponents": np.array([histogram.exponent for histogram in histograms]),
        "largest": np.array([histogram.largest for histogram in histograms]),
    }
    state = _State(origin=origin, layers=tuple(done.histograms), images=done.images)
    with atomic_write(path) as temporary:
        save_file(arrays, temporary, {"calibration": to_json(state)})


def _read_progress(path: Path, origin: dict[str, str], names: tuple[str, ...], total: int) -> _Done:
    remedy = "delete it to calibrate anew, or name another output"
    require_readable(path)
    try:
        with safe_open(path, framework="np") as file:
            state = from_json(_State, (file.metadata() or {})["calibration"])
            if state.origin != origin or tuple(state.layers) != names:
                raise UserError(f"{path}: belongs to a calibration of another model or of other images; {remedy}")
            # Before they are read: a file says how large they are, and may say anything.
            if file.get_slice("counts").get_shape() != [len(names), BINS]:
                raise ValueError(f"expected counts of {len(names)} tensors in {BINS} bins")
            counts, exponents, largest = (file.get_tensor(name) for name in ("counts", "exponents", "largest"))
        if state.images > total:
            raise ValueError(f"it counts {state.images} images of {total}")
        rows = zip(counts, exponents.tolist(), largest.tolist(), strict=True)
        histograms = {name: Histogram(*row) for name, row in zip(names, rows, strict=True)}
        for name, histogram in histograms.items():
            histogram.require_possible(name)
        return _Done(state.images, histograms)
    except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not the histograms of a calibration ({error}); {remedy}") from error
