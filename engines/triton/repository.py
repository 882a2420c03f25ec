"""Writes a model repository of Triton."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import engines
from engines.triton.deployment import Deployment, texts_field
from engines.triton.front_config import front_config
from engines.triton.model_folder import (
    CONFIG,
    MARK,
    NETWORK_MARK,
    new_model,
    remove_network,
    require_free,
    require_name,
    require_same_kind,
)
from engines.triton.native import plugin_library, require_native
from engines.triton.network_config import WARM_UP_SIZES, native_config, python_config, warm_up_sizes
from engines.triton.pbtxt import to_pbtxt
from engines.triton.settings import Settings
from engines.triton.source import (
    Source,
    require_batch,
    require_device,
    require_engine_bytes,
    source_of,
    unopened_precision,
)
from refinemask import __version__
from refinemask.files import UserError, sha256
from refinemask.selection import Selection

Network = Literal["native", "python"]
VERSION = "1"
"""Folder of the version; a repository of ours has one."""
MODEL_PY = '''"""What Triton's Python backend runs; the code is in the installed package."""

from engines.triton.{module} import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What was written."""

    front: str
    """Name of the model that clients talk to."""
    network: str | None
    """Name of the bare network; None if there is none."""
    plugins: Path | None
    """The plugin library for the server's command line, if the network needs one."""
    settings: Settings
    """How the model is served."""
    opened: bool
    """Whether the model was opened here with these settings; a GPU's is opened by the server first."""


def write_repository(
    model: Path,
    output: Path,
    settings: Mapping[str, Any] | None = None,
    deployment: Deployment | None = None,
    *,
    name: str | None = None,
    network: Network | None = None,
) -> Repository:
    """Write the models for a file into a repository, each whole or not at all; older ones of the same names go.

    A model that runs on the CPU is opened first, with the very options of the server.

    Args:
        model: the file.
        output: the repository, which may have other models.
        settings: fields of :class:`Settings` that are not the defaults; backend and precision may be missing.
        deployment: batches and instances; None is the defaults.
        name: name of the front model; None is the file's, without its ending.
        network: write the bare network ``NAME_network``, too: for the server's own backends, or the Python backend.

    Raises:
        UserError: the file or an option is not possible, or the repository cannot be written.
    """
    name, deployment = name or model.stem, deployment or Deployment()
    require_name(name)
    asked = dict(settings or {})
    source = source_of(model, asked.pop("backend", None))
    precision = asked.pop("precision", None)
    second = f"{name}_network"
    for each in (name, second) if network else (name,):
        require_free(output, each)
        require_same_kind(output, each, is_network=each == second)
    device = asked.get("device", "cpu")
    require_device(source, device)
    final = Settings(
        model=model.name,
        backend=source.backend,
        precision=_precision(source, precision, asked),
        version=__version__,
        **asked,
    )
    if network == "native":
        require_native(source, final.precision)
    library = plugin_library(source) if network == "native" else None
    if network:
        _write_network(output, second, source, final, deployment, network, library)
    else:
        remove_network(output, second)
    with new_model(output, name) as folder:
        served = _copied(source, final, folder / VERSION)
        _write_code(folder / VERSION, "front")
        _write_config(folder, front_config(name, served, deployment), source, MARK)
    plugins = None if library is None else output / second / library.name
    return Repository(
        front=name, network=second if network else None, plugins=plugins, settings=served, opened=device == "cpu"
    )


def _precision(source: Source, precision: str | None, asked: Mapping[str, Any]) -> str:
    """The precision in which the file will run, asked of the engine itself where that runs on a CPU."""
    selected = {key: asked[key] for key in ("detections", "score_threshold") if key in asked}
    batch_size = asked.get("batch_size")
    if asked.get("device", "cpu") != "cpu":
        return unopened_precision(source, precision, Selection(**selected), batch_size)
    require_batch(source.bounds, batch_size)
    return engines.load(
        source.path, backend=source.backend, precision=precision, threads=asked.get("threads"), **selected
    ).precision


def _write_network(
    output: Path,
    name: str,
    source: Source,
    settings: Settings,
    deployment: Deployment,
    network: Network,
    library: Path | None,
) -> None:
    with new_model(output, name) as folder:
        served = _copied(source, settings, folder / VERSION)
        if library is not None:
            shutil.copy2(library, folder / library.name)
        if source.bounds is not None:
            (folder / "warmup").mkdir()
            (folder / "warmup" / WARM_UP_SIZES).write_bytes(warm_up_sizes(source.bounds))
        if network == "python":
            _write_code(folder / VERSION, "network")
            config = python_config(name, served, deployment, source.config, source.bounds)
        else:
            assert source.bounds is not None
            config = native_config(name, served, deployment, source.config, source.bounds)
        _write_config(folder, config, source, NETWORK_MARK)


def _copied(source: Source, settings: Settings, version: Path) -> Settings:
    """Copy the model's files; the settings then have the SHA-256 of the copies."""
    version.mkdir()
    digests = {}
    for path in (source.path, *source.beside):
        if not path.name.isascii():
            raise UserError(
                f"{path}: its name has letters beyond ASCII, and a server without a UTF-8 locale does not find such a "
                "file; rename it, and export again if it is one of several"
            )
        copy = version / path.relative_to(source.path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            raise UserError(f"{copy}: cannot be written: {error.strerror}") from error
        digests[copy.relative_to(version).as_posix()] = sha256(copy)
    require_engine_bytes(source, digests)
    return Settings(**{**vars(settings), "files": digests})


def _write_code(version: Path, module: str) -> None:
    (version / "model.py").write_text(MODEL_PY.format(module=module))


def _write_config(folder: Path, config: Mapping[str, Any], source: Source, mark: str) -> None:
    config = {**config, "parameters": [*config["parameters"], *texts_field(source.told())]}
    first = f"{mark}: what is changed here is lost when it is written again."
    (folder / CONFIG).write_text(f"{first}\n{to_pbtxt(config)}")
