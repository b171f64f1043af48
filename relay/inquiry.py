"""What peers ask about the relay itself: ping, info, health.

Pure; owned by `engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay import events, frames
from relay.admission import Shares
from relay.commands import Command, Note, Probe, Send
from relay.manner import Manner
from relay.policy import Policy
from relay.station import Station
from wire import redact


class Inquiry:
    """Answers for one relay."""

    def __init__(self, policy: Policy, shares: Shares, manner: Manner, station: Station) -> None:
        self._policy = policy
        self._shares = shares
        self._manner = manner
        self._station = station
        self._asking_health: list[tuple[str, events.RequestId]] = []

    def answer(self, src: str, event: events.Event, now: float) -> list[Command] | None:
        """What a "ping", "info" or "health" asks for; None when too many wait for health."""
        if event.kind == "ping":
            return self._ping(src, event, now)
        return self._info(src, event, now) if event.kind == "info" else self._health(src, event)

    def probed(self, services: Sequence[dict[str, Any]], now: float) -> list[Command]:
        """Every target was asked; each service is {name, ok, detail}."""
        waiting, self._asking_health = self._asking_health, []
        ts, addr = self._ts(now), self._station.addr
        return [Send(dest, frames.health(identifier, ts, addr, services)) for dest, identifier in waiting]

    def _ping(self, src: str, event: events.Event, now: float) -> list[Command]:
        answer = Send(src, frames.pong(event, self._ts(now), self._station.addr))
        return [answer, Note("ping", {"peer": redact.key(src)})]

    def _info(self, src: str, event: events.Event, now: float) -> list[Command]:
        facts = self._station.facts(self._policy, self._shares, self._manner)
        answer = Send(src, frames.info(event.id, self._ts(now), self._station.addr, facts))
        return [answer, Note("info", {"peer": redact.key(src)})]

    def _health(self, src: str, event: events.Event) -> list[Command] | None:
        """Every target is asked, once for all who wait."""
        if len(self._asking_health) >= self._shares.queue:
            return None
        self._asking_health.append((src, event.id))
        if len(self._asking_health) > 1:
            return []
        return [Probe({name: str(origin) for name, origin in self._policy.targets.items()})]

    def _ts(self, now: float) -> int:
        return round((now + self._manner.epoch_s) * 1000)
