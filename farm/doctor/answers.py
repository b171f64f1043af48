"""Who answers on the ports of this machine: asked only what changes nothing and needs no model.

Called by `cli`.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from farm.demand import canonical
from farm.doctor import limits, processes
from farm.doctor.asking import WRONG, ask
from farm.doctor.front import is_health, urls
from farm.doctor.probing import gather
from farm.doctor.servers import Answer, Kind, Listener, Loaded, Serve, Servers, port_of


def servers(ports: Sequence[int]) -> Servers:
    """What listens here, and what answers on some ports, on those of all Ollamas and of a farm's backends."""
    found, serves = processes.listeners(), processes.serves()
    wanted = {*ports, *_ports_of(found or (), serves)}
    answered = _identify_all(wanted, found or ())
    behind = {
        port for one in answered for url in urls(one.health or {}) if (port := port_of(url)) is not None
    }
    answered += _identify_all(behind - wanted, found or ())
    return Servers(found, serves, tuple(answered), processes.orphans())


def _ports_of(listeners: Iterable[Listener], serves: Iterable[Serve]) -> set[int]:
    pids = {serve.pid for serve in serves}
    return {one.port for one in listeners if one.pid in pids}


def _identify_all(ports: Iterable[int], listeners: Sequence[Listener]) -> list[Answer]:
    probes: dict[str, Callable[[], Any]] = {str(port): partial(identify, port, listeners) for port in ports}
    found, _ = gather(probes, limits.ROUND_S)
    return [answer for _, answer in sorted(found.items()) if answer is not None]


def identify(port: int, listeners: Sequence[Listener] = ()) -> Answer | None:
    """What answers on a port of this machine; None when nothing does."""
    url = f"http://{_address(port, listeners)}:{port}"
    try:
        _, health = ask(url, "/_health", limits.HTTP_S)
        if is_health(health):
            return Answer(url, port, Kind.FARM, health=health)
        _, told = ask(url, "/api/version", limits.HTTP_S)
    except (OSError, http.client.HTTPException):
        return None
    version = told.get("version") if isinstance(told, dict) else None
    if not isinstance(version, str):
        return Answer(url, port, Kind.OTHER)
    return Answer(
        url, port, Kind.OLLAMA, version,
        embedded=isinstance(_part(url, "/_engine", "slots"), int),
        loaded=tuple(_loaded(_part(url, "/api/ps", "models"))),
        models=_models(_part(url, "/api/tags", "models")),
    )  # fmt: skip


def _address(port: int, listeners: Sequence[Listener]) -> str:
    bound = [one.address for one in listeners if one.port == port]
    for own in ("127.0.0.1", "0.0.0.0", "::"):
        if own in bound or not bound:
            return "127.0.0.1"
    return f"[{bound[0]}]" if ":" in bound[0] else bound[0]


def _part(url: str, path: str, name: str) -> Any:
    try:
        _, told = ask(url, path, limits.HTTP_S)
    except WRONG:
        return None
    return told.get(name) if isinstance(told, dict) else None


def _loaded(entries: Any) -> Iterable[Loaded]:
    for one in entries if isinstance(entries, list) else ():
        if isinstance(one, dict) and isinstance(one.get("size"), int):
            on_gpu = one.get("size_vram")
            yield Loaded(str(one.get("name")), one["size"], on_gpu if isinstance(on_gpu, int) else 0)


def _models(entries: Any) -> dict[str, int] | None:
    if not isinstance(entries, list):
        return None
    named = [one for one in entries if isinstance(one, dict) and isinstance(one.get("name"), str)]
    return {canonical(one["name"]): one["size"] if isinstance(one.get("size"), int) else 0 for one in named}
