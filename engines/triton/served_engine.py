"""The engine of a repository's model, opened as its ``config.pbtxt`` says."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engines
from engines.base import Engine
from engines.triton.settings import Settings
from engines.triton.sound_backend import require_sound_backend
from refinemask.config import with_window
from refinemask.files import UserError
from refinemask.foreign import one_line
from refinemask.window import parse_window


@contextmanager
def refusing(pb_utils: Any) -> Iterator[None]:
    """Within the block, a UserError becomes what tells the server that the model cannot be served.

    Args:
        pb_utils: the module ``triton_python_backend_utils`` of the server.
    """
    try:
        yield
    except UserError as error:
        raise pb_utils.TritonModelException(one_line(error, 2000)) from None


def open_served(pb_utils: Any, args: Mapping[str, str]) -> tuple[Engine, Settings]:
    """Open the engine of a model that the server initialises.

    Args:
        pb_utils: the module ``triton_python_backend_utils`` of the server.
        args: the model's place and its configuration as JSON.

    Raises:
        UserError: the server's backend does not work with this NumPy, a file is another one than it was, or the engine
            does not run here so.
    """
    require_sound_backend(pb_utils)
    settings = Settings.from_parameters(json.loads(args["model_config"])["parameters"])
    return open_engine(settings, Path(args["model_repository"]) / args["model_version"]), settings


def open_engine(settings: Settings, folder: Path) -> Engine:
    """Open the engine of a model.

    Args:
        settings: what the repository was written for.
        folder: the folder of the version, with the model's files.

    Raises:
        UserError: a file is another one than it was, or the engine does not run here so.
    """
    settings.require_files(folder)
    engine = engines.load(
        folder / settings.model,
        backend=settings.backend,
        precision=settings.precision,
        device=settings.device,
        threads=settings.threads,
        detections=settings.detections,
        score_threshold=settings.score_threshold,
    )
    if engine.precision != settings.precision:
        raise UserError(f"{engine}: the repository was written for {settings.precision}; write it again")
    window = None if settings.window is None else parse_window(settings.window.split())
    engine.config = with_window(engine.config, window)
    return engine
