"""The shell's variables and the machine's size.

Pure: facts and their findings. Looked for by `machinery`, called by `examination`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from farm.doctor import limits
from farm.doctor.containers import is_open
from farm.doctor.finding import note, ok, size
from farm.doctor.variables import host_and_port
from wire.finding import Finding, foreign

PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
"""What sends http:// somewhere else; https_proxy does not."""
_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The shell and the machine.

    Attributes:
        proxies: names of set variables among `PROXIES`; never their values, which may hold a password.
        no_proxy: hosts that go directly.
        ollama_host: OLLAMA_HOST, or "".
        available: bytes of memory.
        memory: bytes in all.
        cores: that this process may use.
    """

    proxies: tuple[str, ...] = ()
    no_proxy: str = ""
    ollama_host: str = ""
    available: int = 0
    memory: int = 0
    cores: int = 1


def goes_directly(no_proxy: str, host: str) -> bool:
    """Whether a client leaves its proxy out for a host; a network (127.0.0.0/8) counts, most know it."""
    for word in (word.strip().lower() for word in no_proxy.split(",")):
        if word in {"*", host} or (word.startswith(".") and host.endswith(word)):
            return True
        try:
            if "/" in word and ipaddress.ip_address(host) in ipaddress.ip_network(word, strict=False):
                return True
        except ValueError:
            continue
    return False


def shell(found: Surroundings) -> list[Finding]:
    """Variables that lead programs of this shell astray."""
    told = []
    if found.proxies and not all(goes_directly(found.no_proxy, host) for host in _LOOPBACK):
        names = " and ".join(found.proxies)
        text = (
            f"{names} is set and NO_PROXY does not leave out this machine: clients may send its requests away"
        )
        remedy = "export NO_PROXY=localhost,127.0.0.1,::1 no_proxy=localhost,127.0.0.1,::1"
        told.append(note("proxies", text, remedy))
    else:
        told.append(ok("proxies", "no proxy variable catches requests to this machine"))
    if found.ollama_host:
        told += _ollama_host(*host_and_port(found.ollama_host))
    return told


def _ollama_host(host: str, port: int) -> list[Finding]:
    shown = foreign(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    if host in {"0.0.0.0", "::"}:
        text = f"OLLAMA_HOST is {shown} in this shell: an `ollama serve` started here is open to your network"
        return [note("ollama-host", text, f"export OLLAMA_HOST=127.0.0.1:{port}")]
    if is_open(host):
        text = f"OLLAMA_HOST is {shown} in this shell: `ollama` commands go there, not to this machine"
        return [note("ollama-host", text, "unset OLLAMA_HOST, if this machine is meant")]
    return []


def memory(found: Surroundings) -> Finding:
    """Room for a model."""
    cores = f"{found.cores} core{'s' if found.cores > 1 else ''}"
    text = f"{size(found.available)} of {size(found.memory)} memory available, {cores}"
    if found.available < limits.MEMORY_LOW_B:
        return note(
            "memory", text, "end what uses it; a 1B model takes 1.3 GB, more with each parallel stream"
        )
    return ok("memory", text)
