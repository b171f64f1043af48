"""What is fed: six readers of strangers' bytes, each with what must hold whatever comes.

Only the documented refusals may be raised. What is accepted must be what it says: written and read again
it is the same, and it reaches nothing but what was configured.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from urllib.parse import urlsplit

from relay import events
from relay.answer import AnswerReader
from relay.nkn import envelope, payload, seal
from relay.nkn.arrival import Opener
from relay.nkn.identity import Identity
from relay.policy import Policy
from relay.uploads import Uploads
from wire import headers
from wire.chunked import ChunkError
from wire.errors import Fault, PeerFault
from wire.ndjson import LineSplitter
from wire.origin import Origin

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
ORIGIN = Origin.parse("http://127.0.0.1:8080/base")
POLICY = Policy(targets={"ollama": ORIGIN})
_LINE_B = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Attributes:
        feed: takes an input; AssertionError or any undocumented error is a find.
        examples: inputs that are right.
    """

    name: str
    feed: Callable[[bytes, random.Random], None]
    examples: tuple[bytes, ...]


def request(data: bytes, _dice: random.Random) -> None:
    """A peer's message, up to the request that would be sent."""
    try:
        event = events.read(data)
    except events.NotAnEvent:
        return
    value = json.loads(data)
    if "Infinity" not in json.dumps(value):  # a number beyond all floats has no other spelling
        assert _told(events.read(json.dumps(value))) == _told(event), "read again it is another event"
    if event.kind == "upload" and event.fault is None:
        with _refused():
            Uploads().take("a", (b"k", event.id), event.part, 0.0)
    with _refused():
        judged = POLICY.judge(event.req, events.stream_mode(event.req), event.body)
        assert urlsplit(judged.url)[:2] == ("http", "127.0.0.1:8080"), "it leaves the target"
        assert judged.url.startswith(str(ORIGIN)), "it leaves the target's path"
        assert judged.method in {"GET", "HEAD", "POST"}
        _plain(judged.headers)


def message(data: bytes, _dice: random.Random) -> None:
    """A node's frame, up to the words of a peer."""
    try:
        frame = envelope.read(data)
    except envelope.EnvelopeError:
        return
    if isinstance(frame, envelope.Inbound):
        assert envelope.read(envelope.inbound(frame)) == frame, "read again it is another frame"
        arrival = Opener(BOB, Counter(), accept_unencrypted=False).open(0, frame)
        assert arrival is None or arrival.encrypted


def sealed(data: bytes, _dice: random.Random) -> None:
    """A payload in a seal: what was not sealed by Alice is not hers."""
    source = f"alice.{ALICE.public_key.hex()}"
    arrival = Opener(BOB, Counter(), accept_unencrypted=False).open(0, envelope.Inbound(source, data))
    if arrival is not None:
        assert arrival.payload in _SEALED, "a forgery was opened"
        assert arrival.key == ALICE.public_key
        assert payload.decode(arrival.payload.encode()) == arrival.payload


def lines(data: bytes, dice: random.Random) -> None:
    """A stream's lines: the same however its bytes were cut."""

    def split(pieces: list[bytes]) -> list[bytes] | None:
        splitter, found = LineSplitter(_LINE_B), []
        try:
            for piece in pieces:
                found += splitter.feed(piece)
        except Fault:
            return None
        rest = splitter.finish()
        return found if rest is None else [*found, rest]

    whole = split([data])
    assert split(_cut(data, dice)) == whole, "other lines where the bytes were cut elsewhere"
    if whole is not None:
        assert b"\n".join(whole) == data.removesuffix(b"\n"), "the lines are not the bytes"


def answers(data: bytes, dice: random.Random) -> None:
    """An upstream's answer: the same however its bytes were cut."""

    def read(pieces: list[bytes]) -> tuple[int, list[tuple[str, str]], bytes] | None:
        reader, body = AnswerReader("POST"), b""
        try:
            for piece in pieces:
                if not reader.done:
                    body += reader.feed(piece)
            if reader.status and not reader.done:
                body += reader.feed(b"")
            reader.end()
        except (HTTPException, ChunkError):
            return None
        assert reader.done, "it ended and is not whole"
        return reader.status, reader.headers, body

    assert read(_cut(data, dice)) == read([data]), "another answer where the bytes were cut elsewhere"


def places(data: bytes, _dice: random.Random) -> None:
    """A header and a URL of a peer's."""
    text = data.decode("utf-8", "surrogateescape")
    name, _, value = text.partition(":")
    with _refused():
        _plain(headers.from_peer({name: value}))
    path = ORIGIN.path_of(text)
    if path is not None:
        text = path
    with _refused():
        joined = POLICY.judge({"path": text}, events.StreamMode(wanted=False, lines=False)).url
        assert joined.startswith(str(ORIGIN)), "it leaves the target"
        assert ".." not in urlsplit(joined).path.split("/"), "it climbs"


def _cut(data: bytes, dice: random.Random) -> list[bytes]:
    cuts = sorted(dice.randint(0, len(data)) for _ in range(dice.randint(0, 6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _told(event: events.Event) -> str:
    """Without the length of its text, which is another one when it is written anew."""
    return repr(replace(event, part=replace(event.part, size=0)))


class _refused:  # noqa: N801 - reads as a sentence
    """Faults of the peer are answers; everything else is a find."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, PeerFault)


def _plain(given: dict[str, str]) -> None:
    for name, value in given.items():
        assert name.isascii(), "a name that is no token"
        assert not set(name) & set(" :\r\n\0\t"), "a name that ends elsewhere"
        assert not set(value) & set("\r\n\0"), "a value that starts another header"


def _event(**fields: object) -> bytes:
    return json.dumps(fields).encode()


_A = {"A": "b"}
_REQ = {"path": "/api/chat", "method": "POST", "json": {"model": "m", "stream": True}, "stream": "chunks"}
_UPLOAD = {"id": "i", "upload_id": "u", "total_chunks": 2}
_SEALED = (payload.message("x", b"12345678"), payload.reply(b"y", b"12345678"), payload.ack(b"12345678"))
_BODIES = tuple(
    seal.seal(one.encode(), ALICE.shared_key(BOB.public_key), bytes([number]) * 24)
    for number, one in enumerate(_SEALED)
)
_OK = b"HTTP/1.1 200 OK\r\n"
_SOURCE = f"__0__.alice.{ALICE.public_key.hex()}"

TARGETS = (
    Target(
        "request",
        request,
        (
            _event(event="relay.http", id="i", req=_REQ),
            _event(event="relay.http", id=1, req={"url": "http://127.0.0.1:8080/base/api/tags", "verify": 0}),
            _event(event="http.request", id="i", req={"service": "llm", "path": "/models", "headers": _A}),
            _event(event="relay.http", id="i", req={"path": "/api/show", "method": "POST", "data": "{}"}),
            _event(event="relay.ping", ts_peer=5), _event(event="relay.ack", id="i", seq=7),
            _event(event="relay.response.missing", id="i", missing=[0, 1, -1]),
            _event(event="http.upload.begin", req=_REQ, **_UPLOAD),
            _event(event="http.upload.chunk", seq=1, b64="eA==", **_UPLOAD),
        ),
    ),
    Target(
        "message",
        message,
        (
            *(envelope.inbound(envelope.Inbound(_SOURCE, body)) for body in _BODIES),
            envelope.inbound(envelope.Inbound(_SOURCE, _BODIES[0], b"h" * 32)),
            envelope.receipt(ALICE, b"h" * 32),
            envelope.inbound(envelope.Inbound(_SOURCE, seal.plain(_SEALED[0].encode()))),
        ),
    ),
    Target("sealed", sealed, (*_BODIES, seal.plain(_SEALED[0].encode()))),
    Target("lines", lines, (b'{"a":1}\n{"b":2}\n', b"data: x\r\n\r\n", b"x" * 5000 + b"\n", b"\n\n\n", b"")),
    Target(
        "answers",
        answers,
        (
            _OK + b"Content-Length: 3\r\n\r\nabc", _OK + b"\r\nuntil the end", _OK + b"X: a\r\n b\r\n\r\n",
            _OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nX: y\r\n\r\n",
            b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + _OK + b"Content-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 101 Go\r\n\r\n", b"HTTP/1.0 200 OK\n\nx",
        ),
    ),
    Target(
        "places",
        places,
        (
            b"/api/tags", b"/api/../api/chat?x=1", b"X-Name: value", b"Host: evil", b"http://127.0.0.1:8080/base/x",
            b"//evil.example/x", b"@evil", b"\\\\evil", b"/%2e%2e/x", b"http://127.0.0.1:8080@evil/",
        ),
    ),
)  # fmt: skip
