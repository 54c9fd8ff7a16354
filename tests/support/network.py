"""The closed door: tests reach loopback and unix sockets, nothing else."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_NAMES = {"localhost", "testserver", "", None}


class NetworkClosed(ConnectionRefusedError):
    """A test tried to leave this machine."""


def stays_here(family: int, address: Any) -> bool:
    """Whether connecting a socket of `family` to `address` stays on this machine."""
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return True
    return is_local(address[0])


def is_local(host: Any) -> bool:
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@contextmanager
def closed_network() -> Iterator[None]:
    """Refuse every connect and every name look-up that leaves this machine."""
    real = (socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo)

    def connect(self: socket.socket, address: Any) -> None:
        if not stays_here(self.family, address):
            raise NetworkClosed(f"tests may not connect to {address}")
        real[0](self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        if not stays_here(self.family, address):
            raise NetworkClosed(f"tests may not connect to {address}")
        return real[1](self, address)

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not is_local(name) and not _is_address(name):
            raise socket.gaierror(socket.EAI_NONAME, f"tests may not look up {name}")
        return real[2](host, *args, **kwargs)

    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.socket.connect, socket.socket.connect_ex = real[0], real[1]  # type: ignore[method-assign]
        socket.getaddrinfo = real[2]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
