"""The other end: a client that acknowledges or does not, and what it says again until the relay has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relay.nkn.flights import Flight
from simulator.asking import Asking
from simulator.clock import Clock
from simulator.network import Network, Place
from simulator.resending import Resending
from simulator.shell import Shell
from wire import jsontext

_RELAY = b"relay"


@dataclass(frozen=True, slots=True)
class Habits:
    """How a peer's client behaves.

    Attributes:
        mute: it acknowledges nothing.
        ack_s: how long it takes to.
        says: it sends `relay.ack` as well.
    """

    mute: bool = False
    ack_s: float = 0.0
    says: bool = False


class Peer:
    """One key, at one address or several.

    Attributes:
        place: where it is now.
        asked: its requests, by id.
    """

    def __init__(self, clock: Clock, net: Network, shell: Shell, places: list[Place], habits: Habits) -> None:
        self.place = places[0]
        self.asked: dict[object, Asking] = {}
        self.habits = habits
        self._clock, self._net, self._shell, self._places = clock, net, shell, places
        self._resending = Resending(
            clock, lambda flight: self._copies(flight.body[:8]), lambda: not self.gone
        )
        self._said: dict[bytes, tuple[Place, str]] = {}
        self._seen: set[bytes] = set()
        self._ids = 0
        for place in places:
            place.take = self._taker(place)
            place.acked = self._acked
            shell.places[place.addr] = place

    @property
    def key(self) -> bytes:
        """Its public key."""
        return self.place.key

    @property
    def gone(self) -> bool:
        """Whether it is away for good."""
        return self.place.gone

    def leave(self, *, gone: bool) -> None:
        """Vanish, or be there again."""
        for place in self._places:
            place.gone = gone

    def move(self, index: int) -> None:
        """Be at another address from now on."""
        self.place = self._places[index % len(self._places)]

    def say(self, event: dict[str, Any] | str) -> None:
        """Send one event, again until the relay has it."""
        place, now = self.place, self._clock.now
        self._ids += 1
        message = place.key[:2] + self._ids.to_bytes(6, "big")
        text = event if isinstance(event, str) else jsontext.dumps(event)
        self._said[message] = place, text
        self._copies(message)
        flight = Flight("relay", message + text.encode(), 0, tuple(range(place.paths)), now)
        self._resending.sent((_RELAY, message), flight)

    # -- inside -------------------------------------------------------------------------

    def _taker(self, place: Place) -> Any:
        def take(message: bytes, frame: dict[str, Any], path: int) -> None:
            if not place.gone:
                self._take(place, message, frame, path)

        return take

    def _take(self, place: Place, message: bytes, frame: dict[str, Any], path: int) -> None:
        habits = self.habits
        if not habits.mute:
            args = (place, path, self._shell.acked, place, path, message)
            if habits.ack_s:
                self._clock.after(habits.ack_s, self._net.carry, *args)
            else:
                self._net.carry(*args)
        if message in self._seen:
            return
        self._seen.add(message)
        asking = self.asked.get(frame.get("id"))
        if asking is not None:
            asking.take(frame)

    def _acked(self, message: bytes, path: int) -> None:
        self._resending.flights.acknowledged((_RELAY, message), "relay", path, self._clock.now)

    def _copies(self, message: bytes) -> None:
        place, text = self._said[message]
        for path in range(place.paths):
            self._net.carry(place, path, self._shell.arrive, place, path, message, text)
