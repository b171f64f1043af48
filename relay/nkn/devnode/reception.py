"""The text frames of clients: who may register what here, and who is sent elsewhere.

Pure; owned by `core`, speaks in the frames of `control`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from relay.nkn import address
from relay.nkn.devnode import control
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.holding import Holding
from relay.nkn.devnode.registry import Registry, Session
from relay.nkn.devnode.ring import Member, View, path_of
from relay.nkn.devnode.steps import Cut, Deliver, Step, Write, report


class Reception:
    """The front desk of one node.

    Args:
        chance: a number in [0, 1), drawn anew.
        strict: setClient must be signed; real nodes verify only what is.
        refused_s: how long the socket of a badly signed setClient stays open.

    Attributes:
        faults: the knobs; `renew` replaces them.
    """

    def __init__(
        self,
        view: View,
        registry: Registry,
        holding: Holding,
        counts: Counter[str],
        *,
        chance: Callable[[], float],
        strict: bool,
        refused_s: float,
    ) -> None:
        self._view = view
        self._registry = registry
        self._holding = holding
        self._counts = counts
        self._chance = chance
        self._strict = strict
        self._refused_s = refused_s
        self._misled = 0
        self.faults = Faults()

    def renew(self, faults: Faults) -> None:
        """Take other faults; what counts up to a number begins anew."""
        self.faults, self._misled = faults, 0

    def text(self, session: Session, text: str) -> list[Step]:
        """A text frame came."""
        body = control.read(text)
        if isinstance(body, str):
            self._counts["text_refused"] += 1
            return [Write(session, body), report(session, "refused a text frame that is no request")]
        if body["Action"] != "setClient":
            return [Write(session, control.answer(body["Action"], session.name, len(self._registry)))]
        claim = control.claim(body)
        if isinstance(claim, control.Refusal):
            return self._refuse(session, claim)
        client_id = address.client_id(claim.address)
        told = self._told(client_id, session)
        if told is not None:
            # Before the signature is looked at, as in a real node; the socket stays open.
            self._counts["wrong_node_answers"] += 1
            return [Write(session, control.wrong_node(told, pushed=False))]
        refusal = self._judge(session, body, claim, client_id)
        return self._refuse(session, refusal) if refusal else self._register(session, claim, client_id)

    def push(self, session: Session) -> list[Step]:
        """Tell a client to go elsewhere: to the owner of its address, else where the faults say."""
        self._counts["wrong_node_pushes"] += 1
        owner = self._view.owner(session.client_id)
        told = self._misleading(session) if owner in {None, self._view.me} else _described(owner, session)
        return [Write(session, control.wrong_node(told, pushed=True))]

    def _told(self, client_id: bytes, session: Session) -> dict[str, str] | None:
        owner = self._view.owner(client_id)
        if owner is not None and owner is not self._view.me:
            return _described(owner, session)
        if self._misled >= self.faults.wrong_node:
            return None
        self._misled += 1
        return self._misleading(session)

    def _misleading(self, session: Session) -> dict[str, str]:
        told = _described(self._view.other(), session)
        return {**told, "addr": self.faults.wrong_node_addr or told["addr"]}

    def _judge(
        self, session: Session, body: dict[str, Any], claim: control.Claim, client_id: bytes
    ) -> control.Refusal | None:
        if self.faults.refuse:
            return control.Refusal(control.BAD_SIGNATURE, None, "the fault `refuse` is on", closes=True)
        required = self._strict and bool(session.challenge)
        refusal = control.proof(body, claim.public_key, session.challenge, required=required)
        if refusal is None and session.client_id == client_id and len(self._registry.at(client_id)) > 1:
            return control.Refusal(control.INTERNAL, None, "it is registered here and on another socket too")
        return refusal

    def _refuse(self, session: Session, refusal: control.Refusal) -> list[Step]:
        self._counts[f"refused_{refusal.code}"] += 1
        steps: list[Step] = [
            Write(session, refusal.frame()),
            report(session, f"refused a setClient ({refusal.code}): {refusal.why}"),
        ]
        return [*steps, Cut(session, self._refused_s)] if refusal.closes else steps

    def _register(self, session: Session, claim: control.Claim, client_id: bytes) -> list[Step]:
        self._registry.register(session, claim.address, claim.source, client_id, claim.public_key)
        self._counts["registered"] += 1
        path = path_of(claim.address)
        held: list[Step] = [Deliver(session, frame, path) for frame in self._holding.pop(client_id)]
        self._counts["held_delivered"] += len(held)
        answer = Write(session, control.accepted(_described(self._view.me, session), self._view.chain.latest))
        return [*held, answer] if self._chance() < self.faults.held_first else [answer, *held]


def _described(node: Member, session: Session) -> dict[str, str]:
    return node.place.described(tls=session.tls)
