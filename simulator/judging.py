"""What a frame must be, by the case it belongs to: one function for each kind of frame.

All raise `Violation` with the name of the promise that is broken.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from simulator.case import Case, Wish
from simulator.trace import Violation
from wire import limits

LINES_MAX = 24
"""Of the contract, not of the code."""
_ENVELOPE_B = 700
TERMINAL = {"relay.response.end", "relay.response"}


def check(condition: object, name: str, why: str) -> None:
    """A promise."""
    if not condition:
        raise Violation(name, why)


def begin(case: Case, frame: dict[str, Any], _now: float, _slack_s: float) -> tuple[int, int]:
    """`begin` is the first and the only one."""
    check(case.seq == 0 and case.status and not case.sent, "begin", f"begin of {case.tag} is late")
    check(frame["status"] == case.status, "begin", f"status {frame['status']}")
    return 0, 0


def lines(case: Case, frame: dict[str, Any], now: float, slack_s: float) -> tuple[int, int]:
    """Numbered by one, 24 at most, word for word."""
    batch = frame["lines"]
    check(1 <= len(batch) <= LINES_MAX, "batch-size", f"{len(batch)} lines")
    first = case.seq + 1
    for line in batch:
        check(line["seq"] == case.seq + 1, "seq", f"{line['seq']} after {case.seq} in {case.tag}")
        case.seq += 1
        case.lines += 1
        case.deliver(line["line"].encode() + b"\n", now, slack_s)
    case.clear = False
    return first, case.seq


def chunk(case: Case, frame: dict[str, Any], now: float, slack_s: float) -> tuple[int, int]:
    """Numbered by one, word for word."""
    check(frame["seq"] == case.seq + 1, "seq", f"{frame['seq']} after {case.seq} in {case.tag}")
    case.seq += 1
    case.deliver(base64.b64decode(frame["b64"]), now, slack_s)
    case.clear = False
    return case.seq, case.seq


def keepalive(case: Case, frame: dict[str, Any], _now: float, _slack_s: float) -> tuple[int, int]:
    """Says how far the stream is."""
    check(frame["last_seq"] == case.seq, "keepalive-seq", f"{frame['last_seq']}, not {case.seq}")
    check(frame["state"] == case.state, "keepalive-state", f"{frame['state']}, not {case.state}")
    return 0, case.seq


def end(case: Case, frame: dict[str, Any], _now: float, _slack_s: float) -> tuple[int, int]:
    """Its sums are those of what was sent and read."""
    sums = {"last_seq": case.seq, "lines": case.lines, "bytes": len(case.fed)}
    told = {name: frame[name] for name in sums}
    check(told == sums, "end-sums", f"{told}, not {sums} in {case.tag}")
    case.code = str(frame.get("code", "ok"))
    check(frame["ok"] is (case.code == "ok"), "end-sums", f"ok with {case.code}")
    whole = len(case.sent) >= len(case.fed)
    if not whole and case.code != "line_too_long":
        rest = len(case.fed) if case.chunked or case.finished else case.fed.rfind(b"\n") + 1
        check(len(case.sent) >= rest, "lost-flush", f"{len(case.sent)} of {rest} bytes of {case.tag} left")
    check(whole or case.code != "ok", "false-ok", f"{len(case.sent)} of {len(case.fed)} bytes")
    return -1, -1


def response(case: Case, frame: dict[str, Any], _now: float, _slack_s: float) -> tuple[int, int]:
    """The body as the upstream wrote it."""
    case.code = str(frame.get("code", "ok"))
    check(not case.wish.stream, "response-to-stream", f"of {case.tag}")
    check(frame["ok"] is (case.code == "ok" and frame["status"] < 400), "end-sums", f"ok with {case.code}")
    if case.code == "ok":
        body = frame["body_b64"]
        right = base64.b64decode(body) == case.fed if body else _is_json(bytes(case.fed), frame["json"])
        check(right, "content", f"of the answer {case.tag}")
    return -1, -1


def _is_json(fed: bytes, told: object) -> bool:
    return not fed if told is None else bool(json.loads(fed) == told)


KINDS: dict[str, Callable[[Case, dict[str, Any], float, float], tuple[int, int]]] = {
    "relay.response.begin": begin,
    "relay.response.lines": lines,
    "relay.response.chunk": chunk,
    "relay.response.keepalive": keepalive,
    "relay.response.end": end,
    "relay.response": response,
}
"""Event → (lowest, highest number in it)."""


def size(frame: dict[str, Any], text: str) -> None:
    """A frame fits a message, and 64 KiB unless one line needs more."""
    size_b = len(text.encode())
    check(size_b <= limits.DM_MAX_B, "frame-size", f"{size_b} bytes fit no message")
    if frame["event"] == "relay.response.lines" and len(frame["lines"]) > 1:
        check(size_b <= limits.FRAME_TARGET_B + _ENVELOPE_B, "frame-size", f"{size_b} bytes")


def form(frame: dict[str, Any], wish: Wish | None) -> None:
    """A refusal is what its peer waits for: an end of a stream, or an answer."""
    right = wish is None or (frame["event"] == "relay.response") is (wish.stream is None)
    check(right, "refusal-form", f"{frame['event']} of {frame.get('id')}")


def hold(case: Case) -> None:
    """Its upstream is read unless too much is under way to its peer."""
    limit = limits.HOLD_B // 2 if case.held else limits.HOLD_B
    wanted = case.answers and case.under_way_b > limit
    check(case.held is wanted, "hold", f"{case.tag} is held: {case.held}, {case.under_way_b} bytes under way")


def times(case: Case, code: str, at: float, slack_s: float) -> None:
    """No stream is silent, or waits for a peer or an upstream that is dead, for longer than it should."""
    if case.wish.stream:
        silence = at - case.spoke_at
        check(silence <= case.silence_s + slack_s, "keepalive", f"{case.tag} was silent for {silence:.3f} s")
    if code == "peer_gone":
        check(
            at >= case.gone_at() - 1e-6,
            "peer-gone-early",
            f"{case.tag}, {case.gone_at() - at:.3f} s too soon",
        )
    elif code in {"timeout", "busy"}:
        check(
            at >= case.late_at() - 1e-6, "timeout-early", f"{case.tag}, {case.late_at() - at:.3f} s too soon"
        )
    elif not code:
        check(at <= case.gone_at() + slack_s, "peer-gone-late", f"{case.tag} by {at - case.gone_at():.3f} s")
        check(at <= case.late_at() + slack_s, "timeout-late", f"{case.tag} by {at - case.late_at():.3f} s")
