"""A node on paper: frames and the time go in, steps come out; the shell acts on them.

Says what is routed where, what is held, what is dropped and why; text frames are `reception`'s. Fates of
single frames (loss, delay) are the switchboard's, as is everything with a socket.
Pure: no clock, no socket, no chance of its own; entropy is an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from relay.nkn import address, envelope
from relay.nkn.devnode import control
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.holding import Holding
from relay.nkn.devnode.receipts import Receipts
from relay.nkn.devnode.reception import Reception
from relay.nkn.devnode.redelivery import Redelivery
from relay.nkn.devnode.registry import Registry, Session
from relay.nkn.devnode.ring import Member, Parcel, Ring, View, path_of
from relay.nkn.devnode.steps import Cut, Deliver, Forward, Step, Write, report
from relay.nkn.devnode.times import Times
from relay.nkn.devnode.verification import Violation, relayable, strict


class NodeCore:
    """The decisions of one node.

    Args:
        me: this node as the ring knows it.
        ring: who owns which address, and the block hashes.
        entropy: n → n fresh random bytes.
        strict: verify everything that is signed, and drop what is wrong.
        times: a real node's, if not given.

    Attributes:
        view: the ring as this node sees it.
        counts: named counters.
        registry: open sockets and their addresses.
        holding: messages for absent clients.
    """

    def __init__(
        self,
        me: Member,
        ring: Ring,
        *,
        entropy: Callable[[int], bytes],
        chance: Callable[[], float] = lambda: 0.0,
        strict: bool,
        times: Times | None = None,
    ) -> None:
        self._me = me
        self._entropy = entropy
        self._strict = strict
        self._times = times or Times()
        self._faults = Faults()
        self._receipts = Receipts()
        self._redelivery = Redelivery()
        self.view = View(ring, me)
        self.counts: Counter[str] = Counter()
        self.registry = Registry()
        self.holding = Holding(purge_s=self._times.hold_purge_s)
        desk = (self.view, self.registry, self.holding, self.counts)
        self._reception = Reception(
            *desk, chance=chance, strict=strict, refused_s=self._times.refused_close_s
        )

    def renew(self, faults: Faults) -> None:
        """Take other faults."""
        self._faults = faults
        self._reception.renew(faults)
        self.view.usurped = faults.usurp

    def open(self, *, tls: bool) -> tuple[Session, list[Step]]:
        """A client connected."""
        session = self.registry.open(tls=tls)
        if self._faults.no_challenge:
            return session, []
        session.challenge = self._entropy(32)
        return session, [Write(session, control.challenge(session.challenge))]

    def close(self, session: Session) -> None:
        """The socket is gone."""
        self.registry.close(session)

    def text(self, session: Session, text: str) -> list[Step]:
        """A text frame came."""
        return self._reception.text(session, text)

    def binary(self, session: Session, frame: bytes) -> list[Step]:
        """A binary frame came: route it, or say why not."""
        self.counts["frames"] += 1
        try:
            return self._judged(session, envelope.read(frame))
        except envelope.EnvelopeError as error:
            return self._dropped(session, Violation("unreadable", f"it is no ClientMessage: {error}"))
        except Violation as violation:
            return self._dropped(session, violation)

    def take(self, parcel: Parcel, now: float) -> list[Step]:
        """A message for an address that this node owns: deliver it to all its sockets, or hold it."""
        there = self.registry.at(parcel.dest_id)
        if not there:
            self._hold(parcel, now)
            return []
        prev_hash = b""
        if not self._faults.no_receipts:
            key = there[0].public_key
            prev_hash = self._receipts.ask(parcel.mark, key, self.view.chain.newest)
            self.counts["receipts_asked"] += bool(prev_hash)
        self.counts["routed"] += 1
        self._redelivery.note(parcel, self.registry.epoch, now + self._times.redeliver_s)
        return _deliveries(there, parcel, prev_hash)

    def advance(self, now: float) -> list[Step]:
        """Time passed: forget what was held too long, look again after what was delivered a while ago."""
        expired, evicted = self.holding.purge(now)
        self.counts["expired"] += expired
        self.counts["held_evicted"] += evicted
        steps: list[Step] = []
        for given in self._redelivery.due(now):
            there = self.registry.at(given.parcel.dest_id)
            if not there:
                self._hold(given.parcel, now)
            anew = [session for session in there if session.epoch > given.epoch]
            self.counts["redelivered"] += len(anew)
            steps += _deliveries(anew, given.parcel)
        return steps

    def announce_block(self) -> list[Step]:
        """Tell every socket the newest block hash, also those that registered nothing."""
        text = control.new_block(self.view.chain.latest)
        return [Write(session, text) for session in self.registry]

    def rehome(self) -> list[Step]:
        """Tell those clients that belong to another node now."""
        return [
            step
            for session in self.registry.registered()
            if self.view.owner(session.client_id) not in {None, self._me}
            for step in self._reception.push(session)
        ]

    def push(self, sessions: Iterable[Session]) -> list[Step]:
        """Tell clients to go elsewhere, whether they are right here or not."""
        return [step for session in sessions for step in self._reception.push(session)]

    def _judged(
        self, session: Session, read: envelope.Outbound | envelope.Inbound | envelope.Receipt
    ) -> list[Step]:
        if isinstance(read, envelope.Receipt):
            if self._receipts.take(read, strict=self._strict):
                self.view.chain.receipted = True
            self.counts["receipts"] += 1
            return []
        if isinstance(read, envelope.Inbound):
            raise Violation("inbound_from_client", "only nodes send inbound messages")
        if not session.address:
            raise Violation("not_registered", "it was sent before setClient was accepted")
        relayable(read)
        if self._strict:
            strict(read, session.address, self._me.place.public_key, self.view.chain.knows)
        return self._route(session, read)

    def _route(self, session: Session, sent: envelope.Outbound) -> list[Step]:
        steps: list[Step] = []
        for index, (dest, signature) in enumerate(zip(sent.dests, sent.signatures, strict=False)):
            parcel = Parcel(
                dest_id=address.client_id(dest),
                path=path_of(dest),
                source=session.source,
                payload=sent.payloads[index if len(sent.payloads) > 1 else 0],
                mark=signature + sent.block_hash,
                hold_s=sent.max_holding_seconds,
            )
            owner = self.view.owner(parcel.dest_id)
            if owner is not None:
                steps.append(Forward(owner, parcel))
        if len(sent.signatures) < len(sent.dests):
            # Only lenient nodes come here: a real one panics at the gap and its socket is gone.
            self.counts["cut_signature_count"] += 1
            steps += [report(session, "cut a socket: fewer signatures than destinations"), Cut(session)]
        return steps

    def _hold(self, parcel: Parcel, now: float) -> None:
        if parcel.hold_s <= 0:
            self.counts["nobody_there"] += 1
            return
        frame = envelope.inbound(envelope.Inbound(parcel.source, parcel.payload))
        self.counts["held"] += 1
        self.counts["held_evicted"] += self.holding.keep(parcel.dest_id, frame, now + parcel.hold_s)

    def _dropped(self, session: Session, violation: Violation) -> list[Step]:
        self.counts[f"dropped_{violation.reason}"] += 1
        return [report(session, f"dropped a frame ({violation.reason}): {violation}")]


def _deliveries(sessions: Iterable[Session], parcel: Parcel, prev_hash: bytes = b"") -> list[Step]:
    frame = envelope.inbound(envelope.Inbound(parcel.source, parcel.payload, prev_hash))
    return [Deliver(session, frame, parcel.path) for session in sessions]
