"""Where the site listens: its socket, the names it goes by there, and its URLs.

Knows the network of this machine, neither files nor TLS. Called by `server`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
import sys
from dataclasses import dataclass

import bounds
from certificate import canonical
from faults import SiteFault, reason

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DNS = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_ELSEWHERE = "192.0.2.1"
"""An address for documentation; nothing is sent to it, it only makes the system choose a way out."""


@dataclass(frozen=True, slots=True)
class Place:
    """A bound socket.

    Attributes:
        names: by which browsers may come, in lower case; loopback is always among them.
        urls: the first is the one to open, then those for other machines.
    """

    listener: socket.socket
    names: frozenset[str]
    urls: tuple[str, ...]


def take(host: str, port: int) -> Place:
    """Bind; nothing is accepted before the loop runs.

    Raises:
        SiteFault: the port is in use, or the host is none of this machine.
    """
    listener = _bind(host, port)
    address, number = listener.getsockname()[:2]
    wide = ipaddress.ip_address(address).is_unspecified
    others = _lan_names() if wide or not ipaddress.ip_address(address).is_loopback else []
    reached = [name for name in (canonical(host), *([] if wide else [address])) if _can_be_named(name)]
    names = [canonical(name) for name in (*reached, *others) if _can_be_named(name)]
    shown = _LOOPBACK[1:2] if wide else (host,)
    further = [name for name in others if wide]
    return Place(
        listener,
        frozenset([*_LOOPBACK, *names]),
        tuple(url(name, number) for name in dict.fromkeys([*shown, *further])),
    )


def url(host: str, port: int) -> str:
    """The URL of the page; a mapped address is shown as what it is."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        host = f"[{host}]" if address.version == 6 and mapped is None else str(mapped or address)
    return f"https://{host}/" if port == 443 else f"https://{host}:{port}/"


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SiteFault(f"--host {host!r} is no address or name of this machine", 2) from error
    # IPv4 first: a browser tries it for `localhost` in any case.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    try:
        return _listening(socket.socket(family, kind, protocol), address)
    except OSError as error:
        raise _why_not(host, port, error) from error


def _listening(listener: socket.socket, address: object) -> socket.socket:
    try:
        if sys.platform != "win32":  # where it would let two programs listen
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)  # type: ignore[arg-type]
        listener.listen(bounds.BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _why_not(host: str, port: int, error: OSError) -> SiteFault:
    if error.errno == errno.EADDRINUSE:
        return SiteFault(f"port {port} is in use on {host}; end what uses it, or choose another with --port")
    if error.errno == errno.EADDRNOTAVAIL:
        return SiteFault(f"--host {host!r} is no address or name of this machine", 2)
    return SiteFault(f"port {port} of {host} cannot be used: {reason(error)}")


def _lan_names() -> list[str]:
    """How other machines of the network call this one: its address on the way out, its names.

    Not every address there is: those of containers come and go, and each would need a new certificate.
    """
    name = socket.gethostname().lower().partition(".")[0]
    found = [name, f"{name}.local"] if name and name != "localhost" else []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((_ELSEWHERE, 9))
        found.insert(0, way.getsockname()[0])
    return [each for each in found if _can_be_named(each)]


def _can_be_named(name: str) -> bool:
    """Whether a certificate and a Host header can hold it: not the address of all, none with a zone."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return _DNS.fullmatch(name.lower()) is not None
    return not address.is_unspecified and "%" not in name
