"""What the core of the node wants done; the switchboard does it.

Pure data; made by `reception` and `core`.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.nkn.devnode.registry import Session
from relay.nkn.devnode.ring import Member, Parcel
from wire import redact


@dataclass(frozen=True, slots=True)
class Write:
    """Send a frame of the node itself; no fault touches it."""

    session: Session
    text: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send a client's message, as far as the faults let it through."""

    session: Session
    frame: bytes
    path: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Hand a message to the node that owns its destination."""

    owner: Member
    parcel: Parcel


@dataclass(frozen=True, slots=True)
class Cut:
    """Close a socket without a close frame, after some seconds."""

    session: Session
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """One line for the author of a client that did something wrong."""

    line: str


Step = Write | Deliver | Forward | Cut | Report


def report(session: Session, sentence: str) -> Report:
    """A report that says whose socket it was."""
    who = redact.key(session.address) if session.address else "not registered"
    return Report(f"{sentence} (socket {session.number}, {who})")
