"""The files that are measured: checkpoints, given or made, and what is exported from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from benchmarks.efficiency.models import MODELS, Model
from benchmarks.harness.child import call_in_child
from benchmarks.harness.random_detector import SETTLED_RECIPE, random_config, randomize, settle
from export import MismatchError, choose_bounds, export_onnx
from export.tables import print_export
from refinemask import __version__
from refinemask.config import ModelConfig
from refinemask.config_json import from_json, to_json
from refinemask.contract import Metadata
from refinemask.files import UserError, sha256
from refinemask.modeling.detector import Detector
from refinemask.modeling.exported import Precision
from refinemask.weights import read_config, read_metadata, save_detector


@dataclass(frozen=True)
class Source:
    """A model and its checkpoint."""

    model: Model
    checkpoint: Path
    random: bool
    """Whether the weights are random."""


def find_sources(checkpoints: Sequence[Path], work: Path) -> list[Source]:
    """The models that the checkpoints are of, or all four with random weights where no checkpoint is given.

    Raises:
        UserError: a checkpoint is none of the four, two are of one model, or none is a Mask R-CNN to compare with.
    """
    if not checkpoints:
        return [Source(model, _random_checkpoint(model, work), random=True) for model in MODELS]
    given: dict[str, Path] = {}
    for path in checkpoints:
        kind = from_json(ModelConfig, read_metadata(path)["config"]).mask_head.kind
        if kind in given:
            raise UserError(f"{path}: its mask head is '{kind}', and so is that of {given[kind]}; expected one of each")
        given[kind] = path
    if MODELS[0].mask_head.kind not in given:
        raise UserError(f"no checkpoint is a {MODELS[0].name} (found: {', '.join(given)}); the ratios are to it")
    return [Source(model, given[kind], random=False) for model in MODELS if (kind := model.mask_head.kind) in given]


def _random_checkpoint(model: Model, work: Path) -> Path:
    path, config = work / f"{model.key}.safetensors", random_config(model.mask_head)
    if not path.is_file() or not _is_random(path, config):
        print(f"making {path.name} with random weights", flush=True)
        save_detector(settle(randomize(Detector(config), seed=0)), path, recipe=SETTLED_RECIPE)
    return path


def _is_random(path: Path, config: ModelConfig) -> bool:
    """Whether a checkpoint has these random weights: those of older versions were made otherwise."""
    metadata = read_metadata(path)
    return (metadata["config"], metadata.get("recipe")) == (to_json(config), SETTLED_RECIPE)


def count_parameters(checkpoint: Path) -> int:
    """Trainable numbers, those of batch norm included."""
    with safe_open(checkpoint, framework="numpy") as file:
        names = [name for name in file.keys() if "running_" not in name]  # noqa: SIM118
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def exported_name(source: Source, work: Path, size: tuple[int, int] | None, precision: str) -> Path:
    """Path of the model's ONNX file: ``MODEL.onnx``, with the size and a precision of few bits in its name."""
    shape = "" if size is None else f"-{size[0]}x{size[1]}"
    return work / f"{source.model.key}{shape}{'' if precision == 'fp32' else f'-{precision}'}.onnx"


def exported(
    source: Source, work: Path, images: Path, size: tuple[int, int] | None = None, precision: Precision = "fp32"
) -> Path:
    """The model's ONNX file for batch 1, exported and verified unless ``work`` has it of this checkpoint and version.

    Args:
        source: the model.
        work: directory of the exported files.
        images: directory of the images that the file is verified on.
        size: the one padded (height, width) that the file takes; None is every size that the model's preprocessing
            gives.
        precision: type of weights and features.

    Raises:
        UserError: the export failed.
    """
    path = exported_name(source, work, size, precision)
    if path.is_file() and was_made_of(path, source.checkpoint, precision):
        return path
    print(f"exporting {path.name}", flush=True)
    try:
        # In a process of its own, because the exporter's memory would stay with this one.
        report = call_in_child(
            None,
            export_onnx,
            source.checkpoint,
            path,
            bounds=choose_bounds(read_config(source.checkpoint).preprocessing, batch=(1,), static=size),
            precision=precision,
            verify_images=images,
        )
    except MismatchError as error:
        print_export(error)
        raise UserError(f"{source.checkpoint}: could not be exported, see above") from error
    print_export(report)
    return path


def was_made_of(path: Path, checkpoint: Path, precision: str) -> bool:
    """Whether a file was made of this checkpoint by this version, in this precision."""
    try:
        metadata = Metadata.of_file(path)
    except UserError:
        return False
    origin = metadata.source_sha256, metadata.exporter, metadata.precision
    return origin == (sha256(checkpoint), __version__, precision)
