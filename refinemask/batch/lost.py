"""Ends this process with one line when the Ray that it works on has ended. Imports neither Ray nor PyTorch.

Without its servers, Ray ends the process itself: from C++, after up to a minute, with text about its insides or none.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from tqdm import tqdm

from refinemask.exit_codes import BAD_INPUT, printable

TICK = 1.0
"""Seconds between two looks at a server, and those that one may take."""
PATIENCE = 5.0
"""Seconds for which a server of this machine may refuse connections."""
PATIENCE_WITH_HEAD = 50.0
"""Seconds for which the head of a cluster may: it can be restarted meanwhile. Ray itself gives up after 60."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One of Ray's processes, as the others reach it."""

    what: str
    """Its name for users."""
    host: str
    """Its address."""
    port: int
    """Its port."""
    patience: float
    """Seconds without a connection after which it is lost."""

    def answers(self) -> bool:
        """Whether it takes a connection."""
        try:
            with socket.create_connection((self.host, self.port), TICK):
                return True
        except OSError:
            return False


@contextmanager
def watched(servers: list[Server]) -> Iterator[None]:
    """Within the block, the end of one of the servers ends this process with one line and the exit code 2.

    Nothing is half written then: whatever the block writes, others write, or it has its name when it is whole.
    """
    ended = Event()
    watcher = Thread(target=_watch, args=(servers, ended), name="refinemask-ray-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(servers: list[Server], ended: Event) -> None:
    seen = dict.fromkeys(servers, time.monotonic())
    while not ended.wait(TICK):
        for server in servers:
            if server.answers():
                seen[server] = time.monotonic()
            elif time.monotonic() - seen[server] > server.patience and not ended.is_set():
                line = f"error: Ray's {server.what} has ended; give the same command again, which goes on from here"
                # A bar may stand in the last line of a terminal.
                tqdm.write(printable(line), file=sys.stderr)
                sys.stderr.flush()
                # Any call of Ray, such as to end it, would wait for that server.
                os._exit(BAD_INPUT)
