"""What the control port of one or more nodes does: faults, sockets, blocks, stop and start, all as JSON.

A web page must not reach it: whoever names an Origin, or calls it by another name than a loopback one, is
refused. Pure: requests in, answers out, the nodes are a port; called by `remote`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from relay.nkn.devnode import knobs
from relay.nkn.devnode.answer import Answer, Asked
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.knobs import FaultsError
from relay.nkn.devnode.registry import Choice
from relay.nkn.devnode.ring import Place, Ring
from relay.nkn.devnode.times import Times

_JSON = (("Content-Type", "application/json"),)


class Controlled(Protocol):
    """A node as the panel sees it."""

    faults: Faults
    ring: Ring

    @property
    def running(self) -> bool: ...  # noqa: D102 - see DevNode, here and below

    @property
    def place(self) -> Place: ...  # noqa: D102

    @property
    def times(self) -> Times: ...  # noqa: D102

    async def up(self) -> None: ...  # noqa: D102

    async def down(self) -> None: ...  # noqa: D102

    def statistics(self) -> dict[str, int]: ...  # noqa: D102

    def clients(self) -> list[dict[str, Any]]: ...  # noqa: D102

    def cut(self, choice: Choice) -> int: ...  # noqa: D102

    def push_wrong_node(self, choice: Choice) -> int: ...  # noqa: D102

    def make_block(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """A request that is answered with an error; one sentence says why."""

    status: int
    sentence: str
    allow: str = ""


class Panel:
    """The control of some nodes.

    Args:
        nodes: `/nodes/0` is the first; a single one is also addressed without that.
    """

    def __init__(self, nodes: Sequence[Controlled]) -> None:
        self._nodes = nodes

    async def answer(self, asked: Asked) -> Answer:
        """Answer a request; a change that cannot be made changes nothing."""
        try:
            _from_here(asked)
            return _said(200, await self._done(asked))
        except Refused as refused:
            headers = (*_JSON, ("Allow", refused.allow)) if refused.allow else _JSON
            return _said(refused.status, {"error": refused.sentence}, headers)
        except FaultsError as error:
            return _said(400, {"error": str(error)})
        except OSError as error:
            return _said(409, {"error": str(error)})

    async def _done(self, asked: Asked) -> Any:
        path = urlsplit(asked.target).path.strip("/")
        if not path:
            return {"nodes": [_described(node) for node in self._nodes], "routes": _ROUTES_TOLD}
        node, name = self._addressed(path)
        deeds = _ROUTES.get(name)
        if deeds is None:
            raise Refused(
                404, f"there is no /{name}; there are {', '.join('/' + known for known in _ROUTES)}"
            )
        deed = deeds.get(asked.method)
        if deed is None:
            raise Refused(405, f"/{name} takes {' or '.join(deeds)}, not {asked.method}", ", ".join(deeds))
        return await deed(node, _read(asked.body))

    def _addressed(self, path: str) -> tuple[Controlled, str]:
        first, _, rest = path.partition("/")
        if first != "nodes":
            if len(self._nodes) > 1:
                count = len(self._nodes)
                raise Refused(
                    404, f"there are {count} nodes: say which, /nodes/0/{path} to /nodes/{count - 1}/{path}"
                )
            return self._nodes[0], path
        number, _, name = rest.partition("/")
        if not number.isdecimal() or int(number) >= len(self._nodes):
            raise Refused(404, f"there is no node {number!r}; there are 0 to {len(self._nodes) - 1}")
        return self._nodes[int(number)], name


def _from_here(asked: Asked) -> None:
    if "origin" in asked.headers:
        raise Refused(403, "web pages may not control a node")
    host = urlsplit(f"//{asked.headers.get('host', '')}").hostname or ""
    if host != "localhost" and not _is_loopback(host):
        raise Refused(403, "the control port answers to localhost, 127.0.0.1 and [::1] only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None


async def _faults(node: Controlled, _: Any) -> Any:
    return knobs.described(node.faults)


async def _change(node: Controlled, body: Any) -> Any:
    node.faults = node.faults.changed(knobs.words(body))
    return knobs.described(node.faults)


async def _replace(node: Controlled, body: Any) -> Any:
    node.faults = Faults().changed(knobs.words(body))
    return knobs.described(node.faults)


async def _reset(node: Controlled, _: Any) -> Any:
    return await _replace(node, {})


async def _times(node: Controlled, _: Any) -> Any:
    return knobs.described(node.times)


async def _statistics(node: Controlled, _: Any) -> Any:
    return node.statistics()


async def _clients(node: Controlled, _: Any) -> Any:
    return node.clients()


async def _cut(node: Controlled, body: Any) -> Any:
    return {"cut": node.cut(_choice(body))}


async def _push(node: Controlled, body: Any) -> Any:
    return {"pushed": node.push_wrong_node(_choice(body))}


async def _block(node: Controlled, _: Any) -> Any:
    node.make_block()
    chain = node.ring.chain
    return {"height": chain.height, "hash": chain.newest.hex(), "signable": chain.latest.hex()}


async def _stop(node: Controlled, _: Any) -> Any:
    await node.down()
    return _described(node)


async def _start(node: Controlled, _: Any) -> Any:
    await node.up()
    return _described(node)


def _choice(body: Any) -> Choice:
    kinds = {"address": str, "path": int, "socket": int}
    if not isinstance(body, dict) or any(type(value) is not kinds.get(name) for name, value in body.items()):
        raise Refused(400, 'sockets are chosen by {"address": text in it, "path": number, "socket": number}')
    return Choice(**body)


def _described(node: Controlled) -> dict[str, Any]:
    place = node.place
    return {
        "running": node.running,
        "rpc": f"http://{place.rpc}",
        "ws": f"ws://{place.ws}",
        "wss": f"wss://{place.wss}" if place.wss else "",
        "id": place.id.hex(),
        "public_key": place.public_key.hex(),
    }


def _said(status: int, body: Any, headers: tuple[tuple[str, str], ...] = _JSON) -> Answer:
    return Answer(status, json.dumps(body).encode() + b"\n", headers)


_Deed = Callable[[Controlled, Any], Awaitable[Any]]
_ROUTES: dict[str, dict[str, _Deed]] = {
    "faults": {"GET": _faults, "PATCH": _change, "PUT": _replace, "DELETE": _reset},
    "times": {"GET": _times},
    "statistics": {"GET": _statistics},
    "clients": {"GET": _clients},
    "cut": {"POST": _cut},
    "push-wrong-node": {"POST": _push},
    "make-block": {"POST": _block},
    "stop": {"POST": _stop},
    "start": {"POST": _start},
}
_ROUTES_TOLD = {f"/{name}": list(deeds) for name, deeds in _ROUTES.items()}
