"""What the benchmark of a served model reports."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.harness.provenance import Provenance
from benchmarks.harness.summary import Percentiles

WayName = Literal["server", "client", "in process"]
"""Where images are decoded, resized and pasted: all in the server; all in the client, the network alone in the server;
or all in one process without a server."""


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """One number of clients, one way, in one round."""

    way: WayName
    protocol: str
    """``http`` or ``grpc``; empty without a server."""
    clients: int
    """Requests in flight."""
    images_per_second: float
    latency_ms: Percentiles
    """Of the requests of the last three windows."""
    windows_per_second: tuple[float, ...]
    """Images per second of each of these windows."""
    windows: int
    """Number of windows until these agreed."""
    is_stable: bool
    """Whether they agreed."""
    images_per_execution: float | None
    """Images that the served model computed together, on average; None without a server."""


@dataclass(frozen=True, kw_only=True)
class AnswerReport:
    """Bytes of the tensors of an answer, over all images."""

    response: str
    """``rle``, ``polygons`` or ``masks``; ``network`` are the outputs of the bare network; ``float masks`` are masks of
    the whole image as float32, which nobody sends."""
    mean: float
    largest: int


@dataclass(frozen=True, kw_only=True)
class ServingReport:
    """A served model under load."""

    provenance: Provenance
    server: str
    """Name and version of the server."""
    model: str
    """Name on the server."""
    engine: str
    precision: str
    device: str
    images: int
    """Number of image files."""
    objects: float
    """Objects found in an image, on average."""
    rounds: int
    window_seconds: float
    stability: float
    """Share by which each of three windows may differ from their mean."""
    loads: tuple[LoadReport, ...]
    answers: tuple[AnswerReport, ...]
