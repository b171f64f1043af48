"""The parts of one client, used as one: every message on all of them, dead paths made anew.

An asyncio shell over `link` and `multi`; owned by `messenger`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from relay.nkn import address as nkn_address
from relay.nkn import envelope, multi
from relay.nkn.arrival import Arrival
from relay.nkn.dispatch import Dispatch, pack
from relay.nkn.identity import Identity
from relay.nkn.link import Link, LinkOptions, OutboxFull

_WATCH_S = 1.0
"""How often the paths' health is looked at."""


class Links:
    """One link per part.

    Args:
        indices: the parts; −1 is the address without prefix.
        counts: gets "paths_renewed".

    Attributes:
        handlers: event name → what is called with the event's text.
        connected: set while at least one part is connected.
    """

    def __init__(
        self,
        addr: str,
        identity: Identity,
        indices: Sequence[int],
        options: LinkOptions,
        counts: Counter[str],
    ) -> None:
        self.handlers: dict[str, list[Callable[[str], Any]]] = {name: [] for name in _EVENTS}
        self.connected = asyncio.Event()
        self._addr = addr
        self._identity = identity
        self._indices = list(indices)
        self._options = options
        self._links: dict[int, Link] = {}
        self._routes, self._health = multi.Routes(), multi.PathHealth()
        self._written: multi.Recent[None] = multi.Recent()
        self._counts = counts
        self._watch: asyncio.Task[None] | None = None

    def start(self, on_inbound: Callable[[int, envelope.Inbound], None]) -> None:
        """Begin to connect every part."""
        for index in self._indices:
            if index not in self._links:
                own = nkn_address.add_prefix(self._addr, index)
                self._links[index] = Link(
                    index,
                    own,
                    self._identity,
                    self._options,
                    on_inbound=on_inbound,
                    on_change=self._changed,
                )
        if len(self._links) > 1 and self._watch is None:
            self._watch = asyncio.create_task(self._watch_paths())

    async def close(self) -> None:
        """Leave every node."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links.values()))

    @property
    def ready(self) -> bool:
        """Whether a part is connected now."""
        return any(link.ready for link in self._links.values())

    @property
    def queued_b(self) -> int:
        """Bytes that wait for the slowest socket; parts that are away do not count while another is there."""
        links = [link for link in self._links.values() if link.ready] or list(self._links.values())
        return max((link.queued_b for link in links), default=0)

    def heard(self, arrival: Arrival, *, acked: bool) -> None:
        """A sealed message came; it shows how its sender is reached and which path lives."""
        self._routes.heard(arrival.src, arrival.index, arrival.prefix)
        if acked and arrival.src in self._written:  # strangers send acknowledgements too
            self._health.acked(arrival.index, time.monotonic())

    def send(self, sealed: Sequence[tuple[str, bytes]], holding: int, *, acked: bool) -> None:
        """Queue (destination, sealed message) pairs on every part that is connected, or on all if none is.

        Raises:
            OutboxFull: if no part had room.
            MessageTooLargeError: if a message fits nowhere; nothing was queued.
        """
        ready = [index for index, link in self._links.items() if link.ready] or list(self._links)
        copies: dict[int, list[tuple[str, bytes]]] = {}
        now = time.monotonic()
        for dest, body in sealed:
            for index, part in self._routes.towards(dest, ready):
                copies.setdefault(index, []).append((nkn_address.add_prefix(dest, part), body))
                if acked and self._routes.knows(dest, index):
                    self._written.remember(dest, None)
                    self._health.sent(index, now)
        packed = {index: pack(copy, holding) for index, copy in copies.items()}
        full = sum(not self._queue(index, dispatches) for index, dispatches in packed.items())
        if full and full == len(packed):
            raise OutboxFull(f"too much waits for the nodes ({self.queued_b} bytes)")

    def send_on(self, index: int, dispatch: Dispatch) -> None:
        """Queue on one part; OutboxFull if it has no room."""
        self._links[index].send(dispatch)

    def statistics(self) -> dict[str, Any]:
        """Counters of each part, by its prefix."""
        return {
            nkn_address.add_prefix("", index).rstrip("."): {
                "ready": link.ready,
                "node": link.node.addr if link.node else None,
                "queued_bytes": link.queued_b,
                **link.counts,
            }
            for index, link in self._links.items()
        }

    def _queue(self, index: int, dispatches: Sequence[Dispatch]) -> bool:
        try:
            for dispatch in dispatches:
                self._links[index].send(dispatch)
        except OutboxFull:
            return False
        return True

    def _changed(self, index: int, event: str, text: str) -> None:
        self._health.reset(index)
        if event == "connect":
            self.connected.set()
        elif not self.ready:
            self.connected.clear()
        for handler in self.handlers.get(event, ()):
            try:
                handler(text)
            except Exception as error:  # noqa: BLE001 - a handler's fault must not end the link
                report(error)

    async def _watch_paths(self) -> None:
        """Renew parts that swallow messages although their socket is healthy."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for index in self._health.dead(time.monotonic()):
                self._counts["paths_renewed"] += 1
                self._health.reset(index)
                self._routes.forget(index)
                self._links[index].renew("messages on this path are not acknowledged")


def report(error: Exception) -> None:
    """Tell the loop's exception handler; the client goes on."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "an NKN client could not do what it was asked", "exception": error}
    )


_EVENTS = ("connect", "disconnect", "connect_failed", "moved")
