"""The parts of one client, used as one: messages on all of them or the best one, dead paths made anew.

An asyncio shell over `link` and `multi`; owned by `messenger`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from relay.nkn import address as nkn_address
from relay.nkn import envelope, multi
from relay.nkn.arrival import Arrival
from relay.nkn.dispatch import Dispatch, pack
from relay.nkn.flights import Flight, Flights, Name
from relay.nkn.identity import Identity
from relay.nkn.link import Link, LinkOptions
from relay.nkn.outbox import OutboxFull
from wire import limits
from wire.record import record

_BACKLOG_S = 0.1
_WATCH_S = 1.0
"""How often the paths' health is looked at."""


@record
class Terms:
    """How a message is sent.

    Attributes:
        holding: seconds that nodes hold it for absent destinations.
        expires_s: it is dropped when it found no socket for so long, and for longer than `holding`.
        acked: acknowledgements are asked for.
        resend: the message's name, to send it again until it is acknowledged; one destination only.
        one_path: with `resend`, begin with the best path, if one is known.
    """

    holding: int
    expires_s: float = limits.OUTBOX_AGE_S
    acked: bool = False
    resend: Name | None = None
    one_path: bool = False


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
        self._written: multi.Recent[str, None] = multi.Recent()
        self._flights = Flights(counts)
        self._timer: asyncio.TimerHandle | None = None
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
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    @property
    def ready(self) -> bool:
        """Whether a part is connected now."""
        return any(link.ready for link in self._links.values())

    @property
    def queued_b(self) -> int:
        """Bytes that wait for the slowest socket; parts that are away do not count while another is there."""
        waiting = [link for link in self._links.values() if link.queued_b]
        if not waiting:
            return 0
        if self.ready:
            waiting = [link for link in waiting if link.ready]
        return max((link.queued_b for link in waiting), default=0)

    @property
    def under_way(self) -> int:
        """Messages that are sent again until they are acknowledged."""
        return len(self._flights)

    def heard(self, arrival: Arrival, *, acked: bool) -> None:
        """A sealed message came; it shows how its sender is reached and which path lives."""
        self._routes.heard(arrival.src, arrival.index, arrival.prefix)
        if not acked:
            return
        now = time.monotonic()
        self.count(arrival.index, "acks")
        name = (arrival.key, arrival.payload.reply_to_id)
        self._flights.acknowledged(name, arrival.src, arrival.index, now)
        if arrival.src in self._written:  # strangers send acknowledgements too
            self._health.acked(arrival.index, now)

    def send(self, sealed: Sequence[tuple[str, bytes]], terms: Terms) -> None:
        """Queue (destination, sealed message) pairs on every part that is connected, or on all if none is.

        Raises:
            OutboxFull: if no part had room.
            MessageTooLargeError: if a message fits nowhere; nothing was queued.
        """
        ready = [index for index, link in self._links.items() if link.ready] or list(self._links)
        now = time.monotonic()
        copies: dict[int, list[tuple[str, bytes]]] = {}
        for dest, body in sealed:
            for index, part in self._ways(dest, ready, terms, now):
                copies.setdefault(index, []).append((nkn_address.add_prefix(dest, part), body))
        if not self._queue(copies, terms.holding, now + max(terms.holding, terms.expires_s)):
            if terms.one_path:
                self.send(sealed, replace(terms, one_path=False))
                return
            raise OutboxFull(f"too much waits for the nodes ({self.queued_b} bytes)")
        if terms.resend:
            dest, body = sealed[0]
            plain = all(to == dest for copy in copies.values() for to, _ in copy)
            patience_s = limits.RESEND_PLAIN_S if plain else 0.0
            flight = Flight(dest, body, terms.holding, tuple(copies), now, patience_s)
            self._flights.sent(terms.resend, flight)
            self._set_timer()

    def _ways(self, dest: str, ready: list[int], terms: Terms, now: float) -> list[tuple[int, int]]:
        """(our part, its part) of each copy; what is to be acknowledged is noted."""
        ways = self._routes.towards(dest, ready)
        if terms.one_path and terms.resend and len(ways) > 1:
            chosen = self._flights.choose(dest, [index for index, _ in ways], now)
            ways = [way for way in ways if way[0] in chosen]
        if terms.acked:
            for index, _ in ways:
                if self._routes.knows(dest, index):
                    self._written.remember(dest, None)
                    self._health.sent(index, now)
        return ways

    def send_on(self, index: int, dispatch: Dispatch) -> None:
        """Queue on one part; OutboxFull if it has no room."""
        self._links[index].send(dispatch)

    def count(self, index: int, name: str) -> None:
        """Something happened on one part."""
        self._links[index].counts[name] += 1

    def statistics(self) -> dict[str, Any]:
        """Counters of each part, by its prefix."""
        return {
            nkn_address.add_prefix("", index).rstrip("."): {
                "ready": link.ready,
                "node": link.node.addr if link.node else None,
                "queued_bytes": link.queued_b,
                "last_reason": link.last_reason,
                "away_s": round(link.away_s, 3),
                **link.counts,
            }
            for index, link in self._links.items()
        }

    def _queue(self, copies: dict[int, list[tuple[str, bytes]]], holding: int, expires_at: float) -> bool:
        """Whether a part had room."""
        packed = [(self._links[index], pack(copy, holding, expires_at)) for index, copy in copies.items()]
        queued = not packed
        for link, dispatches in packed:
            try:
                for dispatch in dispatches:
                    link.send(dispatch)
                queued = True
            except OutboxFull:
                continue  # counted by the link; another part may have room
        return queued

    def _changed(self, index: int, event: str, text: str) -> None:
        self._health.reset(index)
        if event in {"connect", "disconnect"}:
            self._flights.path_changed(index, time.monotonic())
            self._set_timer()
        if event == "connect":
            self.connected.set()
        elif not self.ready:
            self.connected.clear()
        for handler in self.handlers.get(event, ()):
            try:
                handler(text)
            except Exception as error:  # noqa: BLE001 - a handler's fault must not end the link
                report(error)

    def _set_timer(self) -> None:
        """Wake up when the next message is overdue; too early does no harm, so a timer is seldom moved."""
        due = self._flights.due_at()
        if due is None or not self.ready:
            return
        loop = asyncio.get_running_loop()
        # Both are the clock of time.monotonic.
        if self._timer is not None and self._timer.when() <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._send_again)

    def _send_again(self) -> None:
        self._timer = None
        if not self.ready:
            return  # the next connection sets the timer anew
        now = time.monotonic()
        if self.queued_b > limits.RESEND_QUEUED_B:
            # What looks lost may still wait here: a slow line is not made faster by more of the same.
            self._timer = asyncio.get_running_loop().call_later(_BACKLOG_S, self._send_again)
            return
        for flight in self._flights.overdue(now):
            with contextlib.suppress(OutboxFull):
                self.send([(flight.dest, flight.body)], Terms(flight.holding, acked=True))
        self._set_timer()

    async def _watch_paths(self) -> None:
        """Renew parts that swallow messages although their socket is healthy."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for index in self._health.dead(time.monotonic()):
                self._counts["paths_renewed"] += 1
                self.count(index, "renewed_unacknowledged")
                self._health.reset(index)
                self._routes.forget(index)
                self._links[index].renew("messages on this path are not acknowledged")


def report(error: Exception) -> None:
    """Tell the loop's exception handler; the client goes on."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": "an NKN client could not do what it was asked", "exception": error}
    )


_EVENTS = ("connect", "disconnect", "connect_failed", "moved")
