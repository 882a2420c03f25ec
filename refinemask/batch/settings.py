"""What the worker processes of a job run: the model, its engine, and what is asked of it. Imports no PyTorch."""

from dataclasses import dataclass

from refinemask.config import Window


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How a worker process opens the model and runs it; can be pickled."""

    model: str
    """Path of the checkpoint or exported file on the machine of the worker."""
    backend: str | None = None
    """The engine that runs the file, as :func:`engines.load` takes it; None is by the file's ending."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    precision: str | None = None
    """Arithmetic of the convolutions; None is the file's own."""
    threads: int = 1
    """CPU threads of the engine, which do not depend on the machine, so that results do not either."""
    detections: int | None = None
    """Largest number of detections per image; None is the file's."""
    score_threshold: float | None = None
    """Score above which a detection counts; None is the file's."""
    batch_size: int | None = None
    """Images, or tiles, that go through the network together; None is what the engine prefers."""
    tile: int | None = None
    """Side of the tiles in pixels; None leaves every image whole."""
    overlap: int | None = None
    """Pixels that neighbouring tiles share; None is an eighth of the tile."""
    window: Window | None = None
    """How images of more than 8 bits become images of 8; None is the model's."""
    timeout: float = 600.0
    """Seconds without a new result after which the worker process counts as stuck, and is killed."""
