"""The relay.* events that peers send, as values: read, never guessed.

Source: docs/protocol.md. Reading refuses what is no event; unknown fields are passed over; what is asked is
judged by `policy`. Pure; called by `engine`, the answers are `frames`.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any, TypeGuard

from wire import jsontext, limits
from wire.errors import PeerFault, bad_request

RequestId = str | int | None

ALIASES = {
    "relay.ping": "ping",
    "ping": "ping",
    "relay.info": "info",
    "info": "info",
    "relay.http": "http",
    "http.request": "http",
    "relay.fetch": "http",
    "relay.health": "health",
    "relay.ack": "ack",
    "relay.cancel": "cancel",
    "relay.response.missing": "missing",
    "relay.resume": "resume",
    "http.upload.begin": "upload",
    "http.upload.chunk": "upload",
    "http.upload.end": "upload",
}
"""Every event that is understood, in lower case, and what it means."""

STREAM_WORDS = frozenset({"1", "true", "yes", "on", "chunks", "dm", "lines", "ndjson", "sse", "events"})
LINE_WORDS = frozenset({"lines", "ndjson", "sse", "events"})
"""Values of `stream` that ask for a stream, and those that ask for lines whatever the content type."""


class NotAnEvent(ValueError):
    """Not a JSON object with a known event: dropped and counted, never answered."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a request that comes in pieces.

    Attributes:
        upload: how the peer names it, or None; echoed.
        total: how many chunks there are, or 0 if this message does not say.
        seq: of a chunk, from 1.
        data: of a chunk, or None.
        req: the request, where it is said.
        content_type: of the body, where it is said.
        ends: whether all was sent.
        size: of the whole message.
    """

    upload: RequestId = None
    total: int = 0
    seq: int = 0
    data: bytes | None = None
    req: dict[str, Any] | None = None
    content_type: str | None = None
    ends: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """A peer's message.

    Attributes:
        kind: one of ALIASES' values.
        id: what the peer named it, echoed in every answer.
        ts_peer: the peer's time stamp of a ping, echoed.
        req: the request of an "http" event, not yet checked.
        fault: what is wrong with the id of an otherwise readable event.
        missing: the numbers that a "missing" event asks for: 0 is begin, −1 the end.
        have: up to where a peer that resumes has everything.
        seq: up to where a peer that acknowledges has everything.
        part: of an "upload" event.
        body: of a request that came in pieces.
    """

    kind: str
    id: RequestId
    ts_peer: int | float | None
    req: dict[str, Any]
    fault: PeerFault | None = None
    missing: tuple[int, ...] = ()
    have: int = 0
    seq: int = 0
    part: Part = Part()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class StreamMode:
    """Whether an answer is streamed, and whether as lines whatever its content type is."""

    wanted: bool
    lines: bool


def read(data: str | bytes) -> Event:
    """Read one direct message.

    Raises:
        NotAnEvent: the reason, a single word fit for a counter.
    """
    if len(data) > limits.DM_MAX_B:
        raise NotAnEvent("too_large")
    try:
        raw = jsontext.loads(data)
    except jsontext.JsonError as error:
        raise NotAnEvent("not_json") from error
    if not isinstance(raw, dict):
        raise NotAnEvent("not_json")
    name = raw.get("event")
    kind = ALIASES.get(name.lower()) if isinstance(name, str) else None
    if kind is None:
        raise NotAnEvent("unknown_event")
    if kind in {"info", "health"} and "addr" in raw:
        raise NotAnEvent("reflected")  # an answer of ours: a node may hand us our own words as a peer's
    ts_peer, req = raw.get("ts_peer"), raw.get("req")
    part = _part(str(name), raw, len(data)) if kind == "upload" else Part()
    identifier, fault = _identifier(raw.get("id", part.upload))
    have, seq = raw.get("have"), raw.get("seq")
    return Event(
        kind,
        identifier,
        ts_peer if _is_time(ts_peer) else None,
        req if isinstance(req, dict) else {},
        fault,
        _numbers(raw.get("missing")),
        have if _is_number(have) else 0,
        seq if _is_number(seq) else 0,
        part,
    )


def stream_mode(req: dict[str, Any]) -> StreamMode:
    """What `stream`, or the header X-Relay-Stream, asks for."""
    word = req.get("stream")
    if word is None and isinstance(req.get("headers"), dict):
        word = next((v for k, v in req["headers"].items() if k.lower() == "x-relay-stream"), None)
    # Only what can be one of the words is turned into text: the peer decides how large the rest is.
    text = str(word).strip().lower() if isinstance(word, str | int) else ""
    return StreamMode(text in STREAM_WORDS, text in LINE_WORDS)


def _part(name: str, raw: dict[str, Any], size: int) -> Part:
    step = name.lower().rpartition(".")[2]
    req, kind = raw.get("req"), raw.get("content_type")
    total = raw.get("total_chunks", raw.get("total"))
    return Part(
        upload=_identifier(raw.get("upload_id"))[0],
        total=total if _is_number(total) and total > 0 else 0,
        seq=raw["seq"] if _is_number(raw.get("seq")) else 0,
        data=_bytes(raw.get("b64")) if step == "chunk" else None,
        req=req if isinstance(req, dict) else None,
        content_type=kind if isinstance(kind, str) and len(kind) <= limits.HEADER_VALUE_MAX else None,
        ends=step == "end",
        size=size,
    )


def _bytes(raw: object) -> bytes | None:
    """Of a chunk; one that cannot be read is asked for again."""
    try:
        return base64.b64decode(raw, validate=True) if isinstance(raw, str) else None
    except (binascii.Error, ValueError):
        return None


def _is_time(raw: object) -> bool:
    """A number that is JSON again when it is echoed."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return False
    return isinstance(raw, int) or math.isfinite(raw)


def _is_number(raw: object) -> TypeGuard[int]:
    return isinstance(raw, int) and not isinstance(raw, bool) and -1 <= raw < 2**53


def _numbers(raw: object) -> tuple[int, ...]:
    """The numbers in a list, of as many entries as one event may have; everything else is passed over."""
    return tuple(filter(_is_number, raw[: limits.MISSING_MAX])) if isinstance(raw, list) else ()


def _identifier(raw: object) -> tuple[RequestId, PeerFault | None]:
    if raw is None:
        return None, None
    if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < 2**53:
        return raw, None
    if not isinstance(raw, str):
        return None, bad_request("id must be a string")
    if len(raw) > limits.REQUEST_ID_MAX or any("\ud800" <= char <= "\udfff" for char in raw):
        return None, bad_request(f"id must be text of at most {limits.REQUEST_ID_MAX} characters")
    return raw, None
