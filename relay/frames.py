"""The relay.* events that the relay sends, as text.

Source: docs/protocol.md. Written directly, so that lines are encoded once and their size in bytes is exact.
Pure; called by `engine` and `exchange`; what peers ask is `events`, their half of this is `reader`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.events import Event, RequestId, StreamMode
from wire import jsontext
from wire.errors import Fault
from wire.record import record


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


@record
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


def upload_missing(identifier: RequestId, upload: RequestId, seqs: Sequence[int]) -> str:
    """`http.upload.missing`: chunks of a request that did not come; 0 is the request itself."""
    named = {} if upload is None else {"upload_id": upload}
    return _frame("http.upload.missing", identifier, {**named, "missing": list(seqs)})


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
    scope = {} if fault.scope is None else {"scope": fault.scope}
    return {"code": fault.code, **wait, **scope}
