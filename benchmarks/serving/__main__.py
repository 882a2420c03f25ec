"""Throughput and latency of a served model by number of clients, and bytes of its answers.

python -m benchmarks.serving URL…
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import engines
from benchmarks.harness.provenance import provenance
from benchmarks.harness.report_file import write_report
from benchmarks.harness.spec import EngineSpec, require_new_output
from benchmarks.harness.tables import print_tables
from benchmarks.serving.answers import measure_answers
from benchmarks.serving.report import ServingReport
from benchmarks.serving.table import tables
from benchmarks.serving.ways import measure_way, require_same, ways
from benchmarks.serving.windows import WINDOWS, Rule
from engines.triton_client.address import Address
from engines.triton_client.client import TIMEOUT, TritonClient
from engines.triton_client.connection import Connection
from engines.triton_client.network import NetworkEngine
from refinemask.bundled import NUCLEI
from refinemask.command import execute
from refinemask.data.images import images_of, read_bytes
from refinemask.files import UserError
from refinemask.options import require_at_least
from refinemask.spelling import OptionalName, OptionalNumber, OptionalOutput

Urls = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="URL…")]


@dataclass(frozen=True, kw_only=True)
class Args:
    """Load a Triton server with a fixed number of requests at a time until three windows agree, as perf_analyzer does,
    and compare where images are decoded, resized and pasted."""

    urls: Urls
    """The server, by HTTP, by gRPC or by both: http://HOST:8000 grpc://HOST:8001."""
    model: OptionalName = None
    """The model that takes images; if not given, the only one on the server."""
    network: OptionalName = None
    """The bare network on the server, to compare with decoding, resizing and pasting in the client."""
    local: OptionalName = None
    """The engine that is served, PATH[@BACKEND[:PRECISION]], to run in this process as well and to compare answers."""
    images: Path = NUCLEI / "images"
    """Directory with image files; by default the bundled nuclei's."""
    limit: OptionalNumber = None
    """Number of images; all if not given."""
    clients: tuple[int, ...] = (1, 4, 16)
    """Requests in flight at the same time."""
    rounds: int = 3
    """Times that each way is measured, in turns."""
    window_seconds: float = 5.0
    """Length of a window."""
    stability: float = 0.1
    """Share by which each of three windows may differ from their mean."""
    most_windows: int = 10
    """Windows after which a load that is not stable is given up, and reported so."""
    threads: int = 1
    """CPU threads of the engine in this process; the server's should have as many."""
    output: OptionalOutput = None
    """JSON file for the result."""

    def __post_init__(self) -> None:
        require_at_least(1, rounds=self.rounds, threads=self.threads, limit=self.limit)
        require_at_least(WINDOWS, most_windows=self.most_windows)
        if not self.urls or not self.clients or min(self.clients) < 1:
            raise UserError("expected the URL of a server, and at least 1 for --clients")
        if self.window_seconds <= 0 or self.stability <= 0:
            raise UserError("--window-seconds and --stability must be more than 0")


def main(args: Args | None = None) -> int:
    """Measure, write the JSON, print the tables; exit code 1 if an answer is not what the engine gives here."""
    return execute(Args, _measure, args, description=__doc__)


def _measure(args: Args) -> None:
    require_new_output(args.output, () if args.local is None else (args.local,))
    report = measure_serving(args)
    write_report(report, args.output)
    print_tables(tables(report), None)


def measure_serving(args: Args) -> ServingReport:
    """Measure all that is asked for.

    Raises:
        UserError: a server or an engine is wrong.
        FailedCheckError: an answer is not what the engine gives in this process.
    """
    paths = images_of(args.images)[: args.limit]
    files = [read_bytes(path) for path in paths]
    spec = None if args.local is None else EngineSpec.parse(args.local)
    local = None if spec is None else _load(spec, args.threads)
    connection = Connection(Address.parse(args.urls[0]), TIMEOUT)
    of_network = [] if args.network is None else args.urls
    networks = {url: NetworkEngine(url, args.network, requests=max(args.clients)) for url in of_network}
    with TritonClient(args.urls[0], args.model) as client:
        served = client.served
        if local is not None:
            require_same(client, local, paths)
    answers, objects = measure_answers(connection, served.name, files, networks.get(args.urls[0]))
    rule = Rule(seconds=args.window_seconds, within=args.stability, most=args.most_windows)
    compared = ways(served.name, args.urls, files, networks, local)
    turns = itertools.product(range(args.rounds), args.clients, compared)
    return ServingReport(
        provenance=provenance([] if spec is None else [spec.path]),
        server=connection.server(),
        model=served.name,
        engine=served.settings.backend,
        precision=served.settings.precision,
        device=served.settings.device,
        images=len(files),
        objects=round(objects, 2),
        rounds=args.rounds,
        window_seconds=args.window_seconds,
        stability=args.stability,
        loads=tuple(measure_way(way, clients, rule, connection) for _, clients, way in turns),
        answers=tuple(answers),
    )


def _load(spec: EngineSpec, threads: int) -> engines.Engine:
    return engines.load(spec.path, backend=spec.backend, precision=spec.precision, threads=threads)


if __name__ == "__main__":
    raise SystemExit(main())
