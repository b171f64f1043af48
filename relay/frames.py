"""The relay.* events as values: what a peer may ask, and the text of every answer.

Source: docs/protocol.md. Reading refuses, never guesses; unknown fields are passed over. Writing builds
the text directly, so that lines are encoded once and their size in bytes is exact. Pure; called by
`engine` and `exchange`, the peer's half is `reader`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from wire import jsontext, limits
from wire.errors import Fault, PeerFault, bad_request

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
    "relay.cancel": "cancel",
    "relay.response.missing": "missing",
    "relay.resume": "resume",
}
"""Every event that is understood, in lower case, and what it means."""

STREAM_WORDS = frozenset({"1", "true", "yes", "on", "chunks", "dm", "lines", "ndjson", "sse", "events"})
LINE_WORDS = frozenset({"lines", "ndjson", "sse", "events"})
"""Values of `stream` that ask for a stream, and those that ask for lines whatever the content type."""


class NotAnEvent(ValueError):
    """Not a JSON object with a known event: dropped and counted, never answered."""


@dataclass(frozen=True, slots=True)
class Event:
    """A peer's message.

    Attributes:
        kind: "ping", "info", "http", "health", "cancel", "missing" or "resume".
        id: what the peer named it, echoed in every answer.
        ts_peer: the peer's time stamp of a ping, echoed.
        req: the request of an "http" event, not yet checked.
        fault: what is wrong with the id of an otherwise readable event.
        missing: the numbers that a "missing" event asks for: 0 is begin, −1 the end.
        have: up to where a peer that resumes has everything.
    """

    kind: str
    id: RequestId
    ts_peer: int | float | None
    req: dict[str, Any]
    fault: PeerFault | None = None
    missing: tuple[int, ...] = ()
    have: int = 0


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
    ts_peer, req = raw.get("ts_peer"), raw.get("req")
    identifier, fault = _identifier(raw.get("id"))
    have = raw.get("have")
    return Event(
        kind,
        identifier,
        ts_peer if _is_time(ts_peer) else None,
        req if isinstance(req, dict) else {},
        fault,
        _numbers(raw.get("missing")),
        have if _is_number(have) else 0,
    )


def stream_mode(req: dict[str, Any]) -> StreamMode:
    """What `stream`, or the header X-Relay-Stream, asks for."""
    word = req.get("stream")
    if word is None and isinstance(req.get("headers"), dict):
        word = next((v for k, v in req["headers"].items() if k.lower() == "x-relay-stream"), None)
    # Only what can be one of the words is turned into text: the peer decides how large the rest is.
    text = str(word).strip().lower() if isinstance(word, str | int) else ""
    return StreamMode(text in STREAM_WORDS, text in LINE_WORDS)


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


# -- answers ------------------------------------------------------------------------------


def _frame(event: str, identifier: RequestId, fields: dict[str, Any]) -> str:
    named = {} if identifier is None else {"id": identifier}
    return jsontext.dumps({"event": event, **named, **fields})


def pong(event: Event, ts: int, addr: str) -> str:
    """`relay.pong`."""
    echo = {} if event.ts_peer is None else {"ts_peer": event.ts_peer}
    return _frame("relay.pong", event.id, {"ts": ts, "addr": addr, **echo})


def info(identifier: RequestId, ts: int, addr: str, facts: dict[str, Any]) -> str:
    """`relay.info`."""
    return _frame("relay.info", identifier, {"ts": ts, "addr": addr, **facts})


def health(identifier: RequestId, ts: int, addr: str, services: Sequence[dict[str, Any]]) -> str:
    """`relay.health`; each service is {name, ok, detail}."""
    return _frame("relay.health", identifier, {"ts": ts, "addr": addr, "services": list(services)})


def begin(identifier: RequestId, status: int, headers: dict[str, str], ts: int) -> str:
    """`relay.response.begin`."""
    fields = {"ok": status < 400, "status": status, "headers": headers, "ts": ts}
    return _frame("relay.response.begin", identifier, fields)


@dataclass(frozen=True, slots=True)
class Line:
    """A line ready for a frame.

    Attributes:
        text: the JSON object {seq, ts, line}.
        size: its length in bytes when encoded.
    """

    text: str
    size: int

    @classmethod
    def of(cls, seq: int, ts: int, line: bytes) -> Line:
        """Encode a line; UnicodeDecodeError if it is not UTF-8."""
        plain = line.decode()
        quoted = jsontext.quote(plain)
        text = f'{{"seq":{seq},"ts":{ts},"line":{quoted}}}'
        # Quoting replaces single bytes by ASCII; what it adds in characters it adds in bytes.
        return cls(text, len(line) + len(text) - len(plain))


def lines(identifier: RequestId, batch: Sequence[Line]) -> str:
    """`relay.response.lines`."""
    joined = ",".join(line.text for line in batch)
    return f'{{"event":"relay.response.lines","id":{jsontext.dumps(identifier)},"lines":[{joined}]}}'


def chunk(identifier: RequestId, seq: int, data: bytes) -> str:
    """`relay.response.chunk`."""
    return _frame("relay.response.chunk", identifier, {"seq": seq, "b64": base64.b64encode(data).decode()})


def keepalive(identifier: RequestId, ts: int, last_seq: int, state: str, position: int | None) -> str:
    """`relay.response.keepalive`; position counts from 1 and only while queued."""
    place = {} if position is None else {"position": position}
    return _frame(
        "relay.response.keepalive", identifier, {"ts": ts, "last_seq": last_seq, "state": state, **place}
    )


def gone(identifier: RequestId, seqs: Sequence[int]) -> str:
    """`relay.response.gone`: what was asked for again is not kept any more."""
    return _frame("relay.response.gone", identifier, {"missing": list(seqs)})


@dataclass(frozen=True, slots=True)
class Summary:
    """What `relay.response.end` says of a stream."""

    bytes: int
    last_seq: int
    lines: int
    eot_seen: bool
    done_seen: bool
    truncated: bool
    t_ms: int


def end(identifier: RequestId, summary: Summary, fault: Fault | None) -> str:
    """`relay.response.end`."""
    fields = {
        "ok": fault is None,
        "bytes": summary.bytes,
        "last_seq": summary.last_seq,
        "lines": summary.lines,
        "eot_seen": summary.eot_seen,
        "done_seen": summary.done_seen,
        "truncated": summary.truncated,
        "error": None if fault is None else fault.detail,
        "t_ms": summary.t_ms,
    }
    return _frame("relay.response.end", identifier, fields | _fault_fields(fault))


def response(
    identifier: RequestId,
    status: int,
    headers: dict[str, str],
    body: bytes,
    fault: Fault | None,
    *,
    truncated: bool = False,
) -> str:
    """`relay.response`: JSON as the upstream wrote it, anything else as base64."""
    is_json = headers.get("content-type", "").partition(";")[0].strip().lower().endswith("json")
    text = _json_text(body) if is_json and fault is None else None
    encoded = base64.b64encode(body).decode() if body and text is None else None
    fields = {
        "ok": fault is None and status < 400,
        "status": status,
        "headers": headers,
        "body_b64": encoded,
        "truncated": truncated,
        "error": None if fault is None else fault.detail,
    }
    frame = _frame("relay.response", identifier, fields | _fault_fields(fault))
    # The upstream's own text: a number written and read again might not be the same number.
    return f'{frame[:-1]},"json":{text or "null"}}}'


def refusal(identifier: RequestId, fault: Fault, stream: StreamMode) -> str:
    """The only answer to a request that was not begun."""
    if not stream.wanted:
        return response(identifier, fault.status, {}, b"", fault)
    nothing = Summary(0, 0, 0, eot_seen=False, done_seen=False, truncated=False, t_ms=0)
    return end(identifier, nothing, fault)


def _json_text(body: bytes) -> str | None:
    try:
        text = body.decode()
        jsontext.loads(text)
    except (UnicodeDecodeError, jsontext.JsonError):
        return None
    return text.strip()


def _fault_fields(fault: Fault | None) -> dict[str, Any]:
    if fault is None:
        return {}
    wait = {} if fault.retry_after_ms is None else {"retry_after_ms": fault.retry_after_ms}
    return {"code": fault.code, **wait}
