"""What goes wrong between a client and a server, in one line each."""

from engines.triton_client.address import PORTS, Address
from refinemask.files import UserError
from refinemask.foreign import one_line

OF_THE_REQUEST = {"400", "413", "500", "INVALID_ARGUMENT", "INTERNAL", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED"}
"""Statuses of HTTP and gRPC by which a server refuses one request, and takes the next."""
TOO_LATE = {"499", "DEADLINE_EXCEEDED"}
"""Statuses of an answer that did not come in time."""
UNREACHABLE = {"UNAVAILABLE", "503"}
"""Statuses of a server, or a model, that is not there now."""

ENDED = "is not healthy"
"""Part of what Triton's Python backend answers where the process of a model has ended. It starts no new one."""


class RefusedRequestError(UserError):
    """The server refused a request, such as a file that is no image; it takes others."""


class ServerError(UserError):
    """The server cannot be reached, does not answer in time, or has no such model."""


class LostConnectionError(ServerError):
    """No connection can be made, or it ended before the answer came."""


def told_by_server(address: Address, error: Exception, seconds: float) -> UserError:
    """The error that one of tritonclient, or of the connection below it, means.

    Args:
        address: the server.
        error: what was raised.
        seconds: how long the client waits for an answer.
    """
    code = _status(error)
    if ENDED in _message(error):
        return ServerError(
            f"{address}: the model's process has ended; restart the server ({one_line(_message(error))})"
        )
    if code in OF_THE_REQUEST:
        return RefusedRequestError(one_line(_message(error)))
    if code in TOO_LATE or isinstance(error, TimeoutError):
        return ServerError(f"{address}: no answer within {seconds:g} s; allow more with --timeout, or ask for less")
    if not code or code in UNREACHABLE:
        other = next(f"{name}://…:{port}" for name, port in PORTS.items() if name != address.protocol)
        return LostConnectionError(
            f"{address}: no Triton server answers ({one_line(_message(error))}); is it started, and is this the "
            f"port of {address.protocol.upper()}? The other one is usually {other}"
        )
    return ServerError(f"{address}: {one_line(_message(error))} ({code})")


def _status(error: Exception) -> str:
    """The status of an answer, such as 400 or INVALID_ARGUMENT; empty where there was no answer."""
    status = getattr(error, "status", None)
    text = status() if callable(status) else None
    return (text or "").removeprefix("StatusCode.")


def _message(error: Exception) -> str:
    message = getattr(error, "message", None)
    text = message() if callable(message) else None
    return text or str(error) or type(error).__name__
