"""Where a server is: ``http://localhost:8000`` or ``grpc://localhost:8001``."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from refinemask.files import UserError
from refinemask.foreign import one_line

Protocol = Literal["http", "grpc"]
SCHEMES: dict[str, tuple[Protocol, bool]] = {
    "http": ("http", False),
    "https": ("http", True),
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
}
"""Protocol of each scheme, and whether it is encrypted."""
PORTS: dict[Protocol, int] = {"http": 8000, "grpc": 8001}
"""Triton's own ports."""


@dataclass(frozen=True)
class Address:
    """The address of a server."""

    protocol: Protocol
    place: str
    """HOST:PORT, as tritonclient takes it; for HTTP a prefix of paths may follow."""
    encrypted: bool

    def __str__(self) -> str:
        return f"{self.protocol}{'s' if self.encrypted else ''}://{self.place}"

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read the address of a server.

        Args:
            url: ``http://HOST[:PORT]`` or ``grpc://HOST[:PORT]``; with an s behind the scheme, it is encrypted.

        Raises:
            UserError: it is no such address.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _unlike(url) from None
        if parts.scheme not in SCHEMES or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise _unlike(url)
        protocol, encrypted = SCHEMES[parts.scheme]
        path = parts.path.rstrip("/")
        if path and protocol == "grpc":
            raise _unlike(url)
        # An IPv6 address keeps its brackets.
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(protocol, f"{host}:{port or PORTS[protocol]}{path}", encrypted)


def _unlike(url: str) -> UserError:
    return UserError(
        f"{one_line(url)}: no address of a Triton server; expected http://HOST:{PORTS['http']} or "
        f"grpc://HOST:{PORTS['grpc']}"
    )
