"""Whatever bytes or JSON a peer sends: the engine raises nothing, answers once at most, and starts only what
may be sent.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.admission import Shares
from relay.commands import Command, Note, Probe, Send, Start
from relay.engine import Engine
from relay.events import ALIASES
from relay.manner import Manner
from relay.policy import METHODS, Policy
from relay.station import Station
from wire.origin import Origin

KEY = b"k" * 32
SRC = f"peer.{KEY.hex()}"
TARGETS = {"ollama": Origin.parse("http://127.0.0.1:8080"), "other": Origin.parse("https://[::1]:1/base")}
VALID = [
    b'{"event":"relay.ping","id":"a","ts_peer":1700000000000}',
    b'{"event":"info"}',
    b'{"event":"relay.health","id":7}',
    b'{"event":"relay.cancel","id":"a"}',
    b'{"event":"relay.response.missing","id":"a","missing":[0,1,-1]}',
    b'{"event":"relay.resume","id":"a","have":7}',
    b'{"event":"relay.http","id":"a","req":{"service":"llm","path":"/api/tags?x=%20","headers":{"X-A":"b"}}}',
    b"""{"event":"http.request","id":"g-1","req":{"service":"ollama_farm","path":"/api/chat","method":"POST",
    "json":{"model":"m","messages":[{"content":"\\u00e9\\ud83d\\ude00"}]},"timeout_ms":1e3,"stream":"lines"}}""",
    b"""{"event":"relay.fetch","id":"b","req":{"url":"http://127.0.0.1:8080/api/generate","method":"post",
    "body_b64":"e30=","verify":false,"insecure_tls":true,"headers":{"X-Relay-Stream":"chunks"}}}""",
    b'{"event":"relay.http","id":"c","req":{"path":"/v1/embeddings","method":"POST","data":"{}"}}',
]
PIECES = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"null",
    ),
    *(
        b"NaN",
        b"1e999",
        b"-0",
        b"9" * 5_000,
        b"[" * 2_000,
        b'{"a":' * 2_000,
        b"\xef\xbb\xbf",
        b"//",
        b"..",
        b"%2e",
    ),
    *(b"\r\n", b'"id":"z",', b'"event":"ping",', b"true", b"\xe2\x80\xa8", b":cloud", b"@evil", b"\\u0000"),
]
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=3)),
    max_size=4,
)
LETTERS = st.characters(codec=None)
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(LETTERS, max_size=9)),
    st.sampled_from([10**400, 2**53, "x" * 300, "/api/chat", "POST", "e30=", "http://127.0.0.1:8080/"]),
)
FIELDS = [
    *(
        "event",
        "id",
        "req",
        "ts_peer",
        "service",
        "path",
        "url",
        "method",
        "headers",
        "json",
        "body_b64",
        "data",
    ),
    *("timeout_ms", "verify", "insecure_tls", "stream", "X-Relay-Stream", "Host", "model", "name"),
]
NAMES = st.sampled_from(FIELDS) | st.text(LETTERS, max_size=5)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries(
    {"event": st.sampled_from(sorted(ALIASES))},
    optional={"id": SCALARS, "req": ANY_JSON, "missing": ANY_JSON, "have": SCALARS, "more": ANY_JSON},
)


def relay(*, admin: bool = False) -> Engine:
    allowed = frozenset(TARGETS) if admin else frozenset[str]()
    return Engine(
        Policy(TARGETS, allow_admin=allowed), Shares(), Manner(epoch_s=1e9), Station("relay.ab", "0.1")
    )


def check(commands: list[Command]) -> None:
    """Of one message: one answer or one start at most, each of them sound."""
    sent = [command for command in commands if isinstance(command, Send)]
    started = [command for command in commands if isinstance(command, Start)]
    assert len(sent) + len(started) <= 1
    for command in commands:
        assert isinstance(command, Send | Start | Probe | Note)
    for answer in sent:
        assert answer.dest == SRC
        json.loads(answer.text.encode(), parse_constant=pytest.fail)
    for start in started:
        check_request(start.request)


def check_request(request: Any) -> None:
    """Nothing in it needs to be looked at again before it goes out."""
    parts, target = urllib.parse.urlsplit(request.url), TARGETS[request.service]
    assert (parts.scheme, parts.hostname, parts.port) == (target.scheme, target.host, target.port)
    assert request.url.startswith(f"{target}/")
    assert request.url.isascii()
    assert request.url.isprintable()
    assert request.method in METHODS
    assert 0 < request.timeout_s <= 86_400
    assert request.body is None or isinstance(request.body, bytes)
    for name, value in request.headers.items():
        assert (name + value).isascii()
        assert not {"\r", "\n", "\0"} & set(name + value)


def hear(message: str | bytes, *, admin: bool = False) -> list[Command]:
    commands = relay(admin=admin).message(SRC, KEY, message, 1.0)
    check(commands)
    return commands


@pytest.mark.parametrize("message", VALID)
def test_what_is_mutated_is_valid_itself(message):
    notes = [command for command in hear(message) if isinstance(command, Note)]
    unwanted = [note for note in notes if note.event in {"refused", "dropped"}]
    assert [note.fields["reason"] for note in unwanted] == ["cancel_of_unknown_id"] * (b"cancel" in message)


@settings(max_examples=300)
@given(st.sampled_from(VALID), MUTATIONS, st.booleans())
def test_any_bytes_near_a_message(message, mutations, admin):
    for at, length, piece in mutations:
        message = message[:at] + piece + message[at + length :]
    hear(message, admin=admin)
    hear(message.decode(errors="surrogateescape"), admin=admin)


@given(st.binary() | st.text(LETTERS))
def test_any_bytes_and_any_text(message):
    hear(message)


@settings(max_examples=300)
@given(MESSAGES | ANY_JSON, st.booleans())
@example({"event": "relay.http", "id": "a", "req": {"headers": {"\ud800": "x", "X-Relay-Stream": {}}}}, False)
@example({"event": "relay.http", "id": "a", "req": {"stream": [[[]]], "verify": [], "json": "\ud800"}}, True)
def test_any_json(message, admin):
    text = json.dumps(message).replace("Infinity", "1e999")
    hear(text, admin=admin)
    hear(text.encode(), admin=admin)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_any_depth_in_any_field(field, opens, closes):
    req = {"path": "/api/chat", "method": "POST", "stream": "lines"}
    for depth in (1, 50, 500, *range(900, 1_000, 3), 5_000, 100_000):
        deep = opens * depth + ("1" if closes == "}" else "") + closes * depth
        for around in (
            '{"event":"relay.http","id":"a",%s,"req":%s}',
            '{"event":"relay.http","id":"a","req":{%s,%s}}',
        ):
            rest = json.dumps(req) if around.endswith("%s}") else json.dumps(req)[1:-1]
            hear(around % (f'"{field}":{deep}', rest))
