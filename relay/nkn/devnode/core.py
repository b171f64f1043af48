"""A node on paper: frames and the time go in, steps come out; the shell acts on them.

Says what is routed where, what is held, what is dropped and why; text frames are `reception`'s. Fates of
single frames (loss, delay) are the switchboard's, as is everything with a socket.
Pure: no clock, no socket, no chance of its own; entropy is an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from relay.nkn import address, envelope
from relay.nkn.devnode import control
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.holding import Holding
from relay.nkn.devnode.receipts import Receipts
from relay.nkn.devnode.reception import Reception
from relay.nkn.devnode.registry import Registry, Session
from relay.nkn.devnode.ring import Member, Parcel, Ring, path_of
from relay.nkn.devnode.steps import Cut, Deliver, Forward, Step, Write, report
from relay.nkn.devnode.verification import Violation, relayable, strict


class NodeCore:
    """The decisions of one node.

    Args:
        me: this node as the ring knows it.
        ring: who owns which address, and the block hashes.
        entropy: n → n fresh random bytes.
        strict: verify everything that is signed, and drop what is wrong.

    Attributes:
        counts: named counters.
        registry: open sockets and their addresses.
        holding: messages for absent clients.
    """

    def __init__(self, me: Member, ring: Ring, *, entropy: Callable[[int], bytes], strict: bool) -> None:
        self._me = me
        self._ring = ring
        self._entropy = entropy
        self._strict = strict
        self._faults = Faults()
        self._receipts = Receipts()
        self.counts: Counter[str] = Counter()
        self.registry = Registry()
        self.holding = Holding()
        self._reception = Reception(me, ring, self.registry, self.holding, self.counts, strict=strict)

    def renew(self, faults: Faults) -> None:
        """Take other faults."""
        self._faults = faults
        self._reception.renew(faults)

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
            prev_hash = self._receipts.ask(parcel.mark, key, self._ring.chain.latest)
            self.counts["receipts_asked"] += bool(prev_hash)
        frame = envelope.inbound(envelope.Inbound(parcel.source, parcel.payload, prev_hash))
        self.counts["routed"] += 1
        return [Deliver(session, frame, parcel.path) for session in there]

    def announce_block(self) -> list[Step]:
        """Tell every socket the newest block hash, also those that registered nothing."""
        text = control.new_block(self._ring.chain.latest)
        return [Write(session, text) for session in self.registry]

    def rehome(self) -> list[Step]:
        """Tell those clients that belong to another node now."""
        return [
            step
            for session in self.registry.registered()
            if self._ring.owner(session.client_id) not in {None, self._me}
            for step in self._reception.push(session)
        ]

    def push_all(self) -> list[Step]:
        """Tell every client to go elsewhere, whether it is right here or not."""
        return [step for session in self.registry.registered() for step in self._reception.push(session)]

    def purge(self, now: float) -> None:
        """Forget held messages that are over their time."""
        self.counts["expired"] += self.holding.purge(now)

    def _judged(
        self, session: Session, read: envelope.Outbound | envelope.Inbound | envelope.Receipt
    ) -> list[Step]:
        if isinstance(read, envelope.Receipt):
            self._receipts.take(read, self._ring.chain.latest, strict=self._strict)
            self.counts["receipts"] += 1
            return []
        if isinstance(read, envelope.Inbound):
            raise Violation("inbound_from_client", "only nodes send inbound messages")
        if not session.address:
            raise Violation("not_registered", "it was sent before setClient was accepted")
        relayable(read)
        if self._strict:
            strict(read, session.address, self._me.place.public_key, self._ring.chain.knows)
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
            owner = self._ring.owner(parcel.dest_id)
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
