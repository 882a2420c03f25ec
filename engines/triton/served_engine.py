"""The engine of a repository's model, opened as its ``config.pbtxt`` says."""

from pathlib import Path

import engines
from engines.base import Engine
from engines.triton.settings import Settings
from refinemask.config import with_window
from refinemask.files import UserError
from refinemask.window import parse_window


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
