"""The farm's sockets: bound before anything slow is begun, and a port in use says who has it.

Called by `house` and `sources`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import shutil
import socket
import sys
from collections.abc import Iterator

from farm import limits, looking, machine
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
        if sys.platform != "win32":  # where it would let two programs listen
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
    # Some systems let a second program listen on loopback beside one that listens everywhere.
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), limits.CONNECT_S):
        return False
    try:
        with bound("127.0.0.1", port, "--back-port"):
            return True
    except OurFault:
        return False


def in_use(port: int, flag: str, but: str = "") -> OurFault:
    """What is said of a port that another program has: which one, and how to end it.

    Args:
        port: its number.
        flag: that chooses another port.
        but: what else can be done.
    """
    who, remedy = _holder(port)
    instead = f"or choose another port with {flag}"
    return OurFault("port", f"port {port} is in use{who}; {remedy}, {instead}{but and f'; {but}'}")


def _holder(port: int) -> tuple[str, str]:
    container = _container_on(port)
    if container:
        return f" by the container {container}", f"`docker rm -f {container}` ends it"
    holder = looking.holder_of(port)
    if holder is None:
        return "", f"`sudo ss -ltnp 'sport = :{port}'` shows by which program: stop that"
    unit = looking.unit_of(holder.pid)
    end = f"systemctl stop {unit}" if unit else f"kill {holder.pid}"
    end = end if not unit or unit.startswith("--user") else f"sudo {end}"
    return f" by {holder.name} (process {holder.pid})", f"`{end}` ends it"


def _container_on(port: int) -> str:
    docker = shutil.which("docker")
    if docker is None:
        return ""
    code, out, _ = machine.ask(docker, "ps", "--filter", f"publish={port}", "--format", "{{.Names}}")
    return "" if code else (out.split() or [""])[0]


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
