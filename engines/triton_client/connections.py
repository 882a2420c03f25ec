"""The connections of a client: at most as many as requests may be in flight, shared by all threads that ask."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Concatenate, ParamSpec, TypeVar

from engines.triton_client.address import Address
from engines.triton_client.connection import Connection
from engines.triton_client.errors import LostConnectionError, ServerError
from refinemask.files import UserError

P = ParamSpec("P")
R = TypeVar("R")


class Connections:
    """Connections that are made when they are needed, and used again until one fails."""

    def __init__(self, url: str, timeout: float, most: int) -> None:
        """Prepare them.

        Args:
            url: the server.
            timeout: seconds to wait for a connection, and for an answer.
            most: number of connections; more threads than that wait.

        Raises:
            UserError: the address is none of a server, or the time or the number is not positive.
        """
        if most < 1:
            raise UserError(f"--requests is {most}; expected at least 1")
        if not 0 < timeout < float("inf"):
            raise UserError(f"--timeout is {timeout:g}; expected seconds, more than 0")
        self.address = Address.parse(url)
        self._timeout = timeout
        self._places = BoundedSemaphore(most)
        self._idle: list[_ConnectedThread] = []

    def do(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a function gives that asks the server by a connection, such as :meth:`Connection.infer`.

        Raises:
            UserError: tritonclient is missing; or what the function raises.
        """
        with self._places:
            while (connected := self._idle_one()) is not None:
                try:
                    return self._by(connected, function, *args, **kwargs)
                # A server that was restarted has ended it, or one that ends what is idle.
                except LostConnectionError:
                    continue
            return self._by(_ConnectedThread(self.address, self._timeout), function, *args, **kwargs)

    def first(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, and no connection stays if it fails."""
        try:
            return self.do(function, *args, **kwargs)
        except BaseException:
            self.close()
            raise

    def _by(
        self,
        connected: "_ConnectedThread",
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        try:
            result = connected.do(function, *args, **kwargs)
        except ServerError:
            # What comes late by it is the answer to nothing.
            connected.close()
            raise
        except BaseException:
            self._idle.append(connected)
            raise
        self._idle.append(connected)
        return result

    def close(self) -> None:
        """End all connections; requests that wait must have ended. Later requests make new ones."""
        while (connected := self._idle_one()) is not None:
            connected.close()

    def _idle_one(self) -> "_ConnectedThread | None":
        try:
            return self._idle.pop()
        except IndexError:
            return None


class _ConnectedThread:
    """A connection and the only thread that uses it: one of HTTP belongs to the thread that made it."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._thread = ThreadPoolExecutor(1, "refinemask-connection")
        self._connection = self._thread.submit(Connection, address, timeout).result()

    def do(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._thread.submit(function, self._connection, *args, **kwargs).result()

    def close(self) -> None:
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()
