"""What docs/attacks.md says, in numbers: forged and copied messages, and whom a relay ever connects to."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from desks import Desk
from hostile_places import HOSTILE

from relay.answer import AnswerReader
from relay.asker import ask
from relay.call import Call
from relay.commands import Send, Start
from relay.events import StreamMode
from relay.nkn import payload, seal
from relay.nkn.arrival import Opener
from relay.nkn.envelope import Inbound
from relay.nkn.identity import Identity
from relay.nkn.multi import Seen
from relay.policy import Policy
from wire.errors import PeerFault
from wire.origin import Origin

# -- forged, unsealed and copied messages -------------------------------------------------------

OWNER, PEER, MALLORY = (Identity(bytes([number]) * 32) for number in (1, 2, 3))
SRC = f"peer.{PEER.public_key.hex()}"
ASKED = {"event": "relay.http", "req": {"path": "/api/chat", "method": "POST", "json": {"model": "m"}}}
EACH = 2_500


class House:
    """A relay's ear and its engine: what arrives and is opened is heard once."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.desk = Desk(workers=8, per_peer=8, allow_peers=frozenset({PEER.public_key}))
        self._opener = Opener(OWNER, self.counts, accept_unencrypted=False)
        self._seen = Seen()
        self.started = self.answered = 0

    def hear(self, src: str, body: bytes, index: int = 0) -> None:
        arrival = self._opener.open(index, Inbound(src, body))
        if arrival is None or arrival.payload.data is None:
            return
        if not self._seen.arrive(arrival.key, arrival.payload.message_id, self.desk.now)[1]:
            return
        told = self.desk.engine.message(arrival.src, arrival.key, arrival.payload.data, self.desk.now)
        self.started += sum(isinstance(command, Start) for command in told)
        self.answered += sum(isinstance(command, Send) for command in told)


def words(number: int) -> bytes:
    return payload.message(json.dumps({**ASKED, "id": number}), number.to_bytes(8, "big")).encode()


def sealed(inner: bytes, sender: Identity, number: int) -> bytes:
    return seal.seal(inner, sender.shared_key(OWNER.public_key), number.to_bytes(24, "big"))


def test_ten_thousand_forged_messages_call_nobody_and_get_no_answer() -> None:
    house, dice = House(), random.Random(1)
    true = sealed(words(0), PEER, 0)
    for number in range(EACH):
        # In the peer's name: unsealed, sealed with another key, and its own words with a bit changed.
        house.hear(SRC, seal.plain(words(number)))
        house.hear(SRC, sealed(words(number), MALLORY, number))
        at = dice.randrange(len(true))
        house.hear(SRC, true[:at] + bytes([true[at] ^ (1 << dice.randrange(8))]) + true[at + 1 :])
        # In a name of his own, which nobody allowed.
        house.hear(f"m.{MALLORY.public_key.hex()}", sealed(words(number), MALLORY, number))
    # A bit that no reader looks at leaves the peer's own message as it is: then it is the peer's, once.
    assert house.started <= 1
    assert house.answered <= 1
    assert house.desk.engine.counts["dropped_stranger"] == EACH
    assert house.counts["unsealed_dropped"] >= EACH


def test_a_message_copied_a_thousand_times_over_all_parts_calls_once() -> None:
    house = House()
    body = sealed(words(7), PEER, 7)
    for number in range(1000):
        for name in (SRC, f"__0__.{SRC}", f"__1__.{SRC}", SRC.replace("peer.", "other.")):
            house.hear(name, body, number % 3)
    assert house.started == 1


def test_the_same_request_in_a_thousand_new_messages_calls_once() -> None:
    house = House()
    for number in range(1000):
        inner = payload.message(json.dumps({**ASKED, "id": "same"}), number.to_bytes(8, "big")).encode()
        house.hear(SRC, sealed(inner, PEER, number))
    assert house.started == 1


def test_two_peers_with_the_same_message_id_are_both_served() -> None:
    house = House()
    house.desk = Desk(workers=8, per_peer=8)
    house.hear(SRC, sealed(words(1), PEER, 1))
    house.hear(f"m.{MALLORY.public_key.hex()}", sealed(words(1), MALLORY, 1))
    assert house.started == 2


# -- whom a relay connects to -------------------------------------------------------------------

_WATCH: list[Any] = []
_CONNECTS: list[Any] = []


def _hook(name: str, args: tuple[Any, ...]) -> None:
    if _WATCH and name in {"socket.connect", "socket.getaddrinfo"}:
        _CONNECTS.append((name, args[1] if name == "socket.connect" else args[0]))


sys.addaudithook(_hook)  # for good; it looks only while a test asks it to


@contextlib.contextmanager
def watched() -> Iterator[list[Any]]:
    _CONNECTS.clear()
    _WATCH.append(True)
    try:
        yield _CONNECTS
    finally:
        _WATCH.clear()


@pytest.fixture
def target() -> Iterator[tuple[str, int]]:
    """A server that sends everybody on, to where a cloud keeps its secrets."""
    listener = socket.create_server(("127.0.0.1", 0))
    told = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(told)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_no_hostile_place_makes_a_relay_connect_anywhere_else(
    target: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://169.254.169.254:1/")
    home = f"http://127.0.0.1:{target[1]}"
    policy = Policy({"ollama": Origin.parse(home)}, allow_admin=frozenset({"ollama"}))
    asked = 0
    with watched() as connects:
        for place in HOSTILE:
            for req in ({"path": place}, {"url": place}, {"service": place}, {"url": f"{home}{place}"}):
                try:
                    request = policy.judge(req, StreamMode(wanted=False, lines=False))
                except PeerFault:
                    continue
                call = Call(request)
                answer = AnswerReader(request.method)
                with ask(call) as connection:
                    while not answer.status:
                        answer.feed(connection.recv(65_536))
                call.detach()
                assert answer.status == 302
                asked += 1
    assert asked > 10  # the others were refused
    assert {address for name, address in connects if name == "socket.connect"} == {target}
    assert {host for name, host in connects if name == "socket.getaddrinfo"} <= {"127.0.0.1"}
