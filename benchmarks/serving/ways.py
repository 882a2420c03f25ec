"""The ways to get a prediction that are compared: by a server, with a server's network, and without a server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.summary import percentiles
from benchmarks.serving.clients import FrontClients, ThreadedClients
from benchmarks.serving.report import LoadReport, WayName
from benchmarks.serving.windows import Load, Rule, measure
from engines import Engine
from engines.triton_client.address import Address
from engines.triton_client.client import TritonClient
from engines.triton_client.connection import Connection
from engines.triton_client.network import NetworkEngine
from refinemask.data.images import decode_image
from refinemask.files import FailedCheckError
from refinemask.prediction import predict


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to get predictions."""

    name: WayName
    protocol: str
    """``http`` or ``grpc``; empty without a server."""
    model: str | None
    """The model on the server that does the work; None without a server."""
    load: Load


def ways(
    front: str,
    urls: Sequence[str],
    files: Sequence[bytes],
    networks: Mapping[str, NetworkEngine],
    local: Engine | None,
) -> list[Way]:
    """All ways that there are.

    Args:
        front: name of the front model.
        urls: the server, by one protocol or both.
        files: the image files.
        networks: by URL, the bare network, if it is served.
        local: the engine in this process, if it is wanted.
    """
    found = []
    for url in urls:
        protocol = Address.parse(url).protocol
        found.append(Way(name="server", protocol=protocol, model=front, load=FrontClients(url, front, files)))
        if (network := networks.get(url)) is not None:
            load = ThreadedClients(_predict_with(network), files)
            found.append(Way(name="client", protocol=protocol, model=network.served.name, load=load))
    if local is not None:
        load = ThreadedClients(_predict_with(local), files)
        found.append(Way(name="in process", protocol="", model=None, load=load))
    return found


def measure_way(way: Way, clients: int, rule: Rule, connection: Connection) -> LoadReport:
    """Load one way until it is steady.

    Args:
        way: the way.
        clients: requests in flight.
        rule: when it is steady.
        connection: the server, which counts what it computes.
    """
    before = None if way.model is None else connection.counts(way.model)
    steady = measure(way.load, clients, rule)
    together = None
    if way.model is not None and before is not None:
        images, executions = (now - then for now, then in zip(connection.counts(way.model), before, strict=True))
        together = round(images / executions, 3)
    return LoadReport(
        way=way.name,
        protocol=way.protocol,
        clients=clients,
        images_per_second=round(sum(each.per_second for each in steady.windows) / len(steady.windows), 3),
        latency_ms=percentiles([1e3 * seconds for seconds in steady.latencies]),
        windows_per_second=tuple(round(each.per_second, 3) for each in steady.windows),
        windows=steady.measured,
        is_stable=steady.is_stable,
        images_per_execution=together,
    )


def require_same(client: TritonClient, local: Engine, paths: Sequence[Path]) -> None:
    """Raise a FailedCheckError unless the server gives what the engine gives in this process, byte for byte."""
    for path, served, own in zip(paths, client.predict(paths), local.predict(paths), strict=True):
        if served.to_coco() != own.to_coco():
            raise FailedCheckError(f"{path}: {client} gives other results than {local}; expected the same bytes")


def _predict_with(engine: Engine) -> Callable[[bytes], object]:
    """Decoding, resizing and pasting in the thread of the caller, around an engine."""

    def run(data: bytes) -> object:
        return predict(engine, [decode_image("the image", data, engine.config.preprocessing.window)])

    return run
