"""A Ray cluster to work on: one of this process alone, or one that runs already. Imports no PyTorch."""

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any

from refinemask.batch.lost import PATIENCE, PATIENCE_WITH_HEAD, TICK, Server, watched
from refinemask.extras import needed_by
from refinemask.files import UserError
from refinemask.foreign import reason
from refinemask.streaming.plan import processors

SPARE_CPUS = 1
"""Logical processors of a cluster of our own beyond those of the actors."""
OBJECT_STORE = 100 << 20
"""Bytes of the object store of a cluster of our own, through which numbers of pieces and answers go."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_memory_monitor_refresh_ms": "0",
}
"""What Ray reads as it begins, unless the environment has it: it reports nothing to its makers, warns of no change to
come, and prints no advice of its core, which it calls errors. For want of memory it would end an actor with its whole
piece; the kernel ends the worker process with the large image, which is then found."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The actors of a job.

    Raises:
        UserError: a number is not possible.
    """

    least: int | None = None
    """Smallest number of actors; None is as many as fit the cluster."""
    most: int | None = None
    """Largest number of actors; None is as many as fit the cluster."""
    cpus: int = 1
    """CPUs of the cluster that an actor takes."""
    gpus: float = 0.0
    """GPUs of the cluster that an actor takes; a part of one, such as 0.5, shares it."""

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise UserError(f"--cpus-per-actor is {self.cpus}; expected at least 1")
        if not (self.gpus >= 0 and (self.gpus < 1 or self.gpus.is_integer())):
            raise UserError(f"--gpus-per-actor is {self.gpus:g}; expected a whole number, or a part of one such as 0.5")
        if self.least is not None and self.most is not None and not 1 <= self.least <= self.most:
            raise UserError(f"--actors is {self.least}-{self.most}; expected at least 1, and the smaller number first")

    def fitting(self, capacity: int, where: str) -> "Pool":
        """This pool with its numbers on a cluster that has room for ``capacity`` such actors.

        Raises:
            UserError: there is no room for the smallest number of them.
        """
        each = f"{self.cpus} CPU{'s' * (self.cpus != 1)}" + (f" and {self.gpus:g} GPU" if self.gpus else "")
        least = self.least or 1
        if capacity < least:
            raise UserError(
                f"{where} has room for {capacity} actors of {each}, and {least} are the fewest asked for; wait for its "
                "nodes, or ask for less (--actors, --cpus-per-actor, --gpus-per-actor)"
            )
        return Pool(least=self.least or capacity, most=self.most or capacity, cpus=self.cpus, gpus=self.gpus)


@contextmanager
def connected(pool: Pool, address: str | None) -> Iterator[Pool]:
    """Within the block Ray runs; yields the pool with its numbers. A Ray that ran before goes on afterwards.

    Args:
        pool: the actors that are wanted.
        address: ``auto`` or ``HOST:PORT`` of a cluster; None starts one on this machine that ends with the block.

    Raises:
        UserError: the cluster cannot be reached or started, or is too small; or Ray is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with needed_by("refinemask.batch"):
        import ray
        import ray.data
    own, logs = not ray.is_initialized(), None
    try:
        if own:
            logs = _begin(pool, address)
        where = f"the cluster {address}" if address else "this machine"
        fitting = pool.fitting(_capacity(pool, SPARE_CPUS if own and address is None else 0), where)
        with watched(_servers(address)):
            yield fitting
    finally:
        if own:
            ray.shutdown()
    # Ray keeps them for ever; after an error they may say why.
    if logs is not None and address is None:
        shutil.rmtree(logs, ignore_errors=True)


def _begin(pool: Pool, address: str | None) -> str:
    """Connect this process, and name the folder in which Ray keeps its logs."""
    import ray

    if address is not None and address.startswith("ray://"):
        raise UserError(f"--address {address}: is Ray Client; run this on a node of the cluster, with --address auto")
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    fitting = processors() // pool.cpus or 1
    # A range is what may be used of this machine; one number is what is wanted, whatever it has.
    actors = max(pool.least or 1, min(pool.most or fitting, fitting))
    found: Any
    try:
        with _own_signals(), _silent():
            if address is None:
                cpus = actors * pool.cpus + SPARE_CPUS
                # The name local keeps a cluster out that the environment names.
                found = ray.init(
                    "local", num_cpus=cpus, object_store_memory=OBJECT_STORE, include_dashboard=False, **settings
                )
            else:
                _require_head(address)
                found = ray.init(address, **settings)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"--address {address}: cannot be reached" if address else "Ray cannot start on this machine"
        # Ray sends the token of this machine where it has found the cluster itself, and nowhere else.
        remedy = "; if that cluster asks for a token, set RAY_AUTH_MODE=token" if address else ""
        raise UserError(f"{where}: {reason(error)}{remedy}") from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray prints what befell a node to standard output, whatever it was told of logs; there is no public switch.
    ray._private.worker._worker_logs_enabled = False
    return str(found.address_info["session_dir"])


def _require_head(address: str) -> None:
    """Raise a UserError if nothing listens at an address, for which Ray itself would wait for minutes."""
    # What auto means, only Ray knows, and there is no public way to ask.
    from ray._private.services import canonicalize_bootstrap_address

    found = canonicalize_bootstrap_address(address)
    if found is None:
        raise UserError(f"--address {address}: is no address of a cluster; expected auto or HOST:PORT")
    host, _, port = found.rpartition(":")
    head = Server(what="head", host=host.strip("[]"), port=int(port), patience=PATIENCE)
    end = time.monotonic() + head.patience
    while not head.answers():
        if time.monotonic() > end:
            why = f"no Ray answers at {found}; start it there (ray start --head)"
            raise UserError(f"--address {address}: cannot be reached: {why}")
        time.sleep(TICK)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM and Ctrl-C do: Ray sets handlers of its own as it begins."""
    if current_thread() is not main_thread():
        yield
        return
    kept, terminated = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}, False
    try:
        yield
    except SystemExit:
        # Its own handler does that.
        terminated = True
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if terminated:
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def _silent() -> Iterator[None]:
    """Within the block nothing is printed to standard error: Ray's core says there which level of its log is set."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _servers(address: str | None) -> list[Server]:
    """What this process cannot do without: the head of the cluster, and Ray's server on this node."""
    import ray

    here = ray.get_runtime_context()
    head, _, port = here.gcs_address.rpartition(":")
    found = [
        Server(what="head", host=head, port=int(port), patience=PATIENCE_WITH_HEAD if address else PATIENCE),
    ]
    for node in ray.nodes():
        if node["NodeID"] == here.get_node_id():
            host, number = node["NodeManagerAddress"], node["NodeManagerPort"]
            found.append(Server(what="server on this node", host=host, port=number, patience=PATIENCE))
    return found


def _capacity(pool: Pool, spare: int) -> int:
    """Number of actors for which the nodes have room, whoever else uses them, with so many CPUs left on each."""
    import ray

    count = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            by_cpus = (has.get("CPU", 0) - spare) / pool.cpus
            count += int(min(by_cpus, has.get("GPU", 0) / pool.gpus) if pool.gpus else by_cpus)
    return count
