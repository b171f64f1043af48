"""The farm's sockets: bound before anything slow is begun, and a port in use says who has it.

Called by `house` and `sources`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator

from farm import limits, looking
from wire.errors import OurFault


@contextlib.contextmanager
def bound(host: str, port: int, flag: str) -> Iterator[socket.socket]:
    """A listening socket.

    Raises:
        OurFault: "port": names the flag, who has the port, and what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OurFault("port", f"--host {host!r} cannot be used: {error.strerror}") from error
    with listener:
        # A port whose last farm just ended is free at once; a port that is listened on is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(limits.BACKLOG)
        except OSError as error:
            raise OurFault("port", _why_not(host, port, flag, error)) from error
        yield listener


def is_free(port: int) -> bool:
    """Whether a server of this machine could listen on a loopback port now."""
    try:
        with bound("127.0.0.1", port, "--back-port"):
            return True
    except OurFault:
        return False


def in_use(port: int, flag: str) -> OurFault:
    """What is said of a port that another program has."""
    holder = looking.holder_of(port)
    if holder is None:
        who = f"in use; `sudo ss -ltnp 'sport = :{port}'` shows by which program"
    else:
        who = f"in use by {holder.name} (process {holder.pid})"
    return OurFault("port", f"port {port} is {who}; stop that or choose another port with {flag}")


def is_loopback(host: str) -> bool:
    """Whether an address to bind can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def url_of(listener: socket.socket) -> str:
    """Where clients on this machine reach a socket."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"  # a browser or curl cannot go to 0.0.0.0 everywhere
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why_not(host: str, port: int, flag: str, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"port {port} of {host} cannot be used ({error.strerror}); choose another with {flag}"
    return in_use(port, flag).detail
