"""The replay can fail: every kind of change to the recording is found, and the parts it is made of hold."""

import asyncio
import copy
import socket
from dataclasses import replace

import pytest
from nkn.recorded import clock, deeds, directions, likeness, rawsocket, recording, role, roles, rpcplay

ASKED = recording.RPC["getwsaddr"]


def changed(case, number, **rest):
    """A case with one event told otherwise."""
    events = list(case.events)
    told = rest.pop("event", {})
    events[number] = replace(events[number], rest={**events[number].rest, **rest}, **told)
    return replace(case, events=tuple(events))


def otherwise(name, number, path, value):
    """A case with one member of a text frame told otherwise."""
    body = copy.deepcopy(recording.CASES[name].events[number].rest["json"])
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed(recording.CASES[name], number, json=body)


def without(name, *numbers):
    """A case without some events."""
    case = recording.CASES[name]
    return replace(case, events=tuple(e for n, e in enumerate(case.events) if n not in numbers))


def swapped(name, one, other):
    """A case with two events of the same connection in the other order."""
    case = recording.CASES[name]
    events = list(case.events)
    events[one], events[other] = (
        replace(events[other], t=events[one].t),
        replace(events[one], t=events[other].t),
    )
    return replace(case, events=tuple(events))


MUTANTS = {
    "a member's value": (
        otherwise("setclient_bad_signature", 2, ["Desc"], "NO"),
        'c setClient.Desc: "NO" → "VERIFY SIGNATURE ERROR"',
    ),
    "a member that is not there": (
        otherwise("setclient_unsigned", 2, ["Result", "node", "more"], 1),
        "c setClient.Result.node.more: 1 → nothing",
    ),
    "another node": (
        otherwise("setclient_unsigned", 2, ["Result", "node", "addr"], "127.0.0.1:1"),
        'c setClient.Result.node.addr: "127.0.0.1:1" → "127.0.0.1:30002"',
    ),
    "a frame that came and is not told": (without("client_close_codes", 2), "code_1000: nothing → FIN"),
    "a frame too few in the middle": (
        without("same_address_twice", 11),
        'second message "still both?".data: "still both?" → "to both"',
    ),
    "a frame that never comes": (
        changed(recording.CASES["offline_hold_0"], 2, event={"op": "binary", "way": "n>c"}, len=1),
        "dave: binary → nothing",
    ),
    "another order": (
        swapped("offline_hold_60", 5, 6),
        'dave message "held 1".data: "held 1" → "held 0"',
    ),
    "another time": (
        changed(recording.CASES["silence_registered"], 2, event={"t": 12.0}),
        "no_pong FIN: at 12.0 s → at 10.1 s",
    ),
    "another end": (
        changed(recording.CASES["silence_registered"], 2, event={"op": "tcp_rst"}),
        "no_pong: RST → FIN",
    ),
    "another close code": (
        changed(recording.CASES["client_close_codes"], 4, code=1000),
        'no_code close: "1000" → "without code"',
    ),
    "other bytes": (
        changed(
            recording.CASES["cross_node_dm"], 3, b64=recording.CASES["cross_node_dm"].events[6].rest["b64"]
        ),
        'bob:30027 message "node 0 to node 1" payload',
    ),
    "another ping": (
        changed(recording.CASES["ping_cadence"], 3, payload_hex="00"),
        'c pong: "00" → "0102616263"',
    ),
    "another observation": (
        replace(recording.CASES["send_pipelined_after_setclient"], observed={"delivered": False}),
        "observed delivered: false → true",
    ),
}


@pytest.mark.parametrize("what", MUTANTS)
def test_a_change_of_the_recording_is_found(what):
    case, difference = MUTANTS[what]
    differences, _ = clock.run(directions.play(case))
    assert differences
    assert differences[0].startswith(difference)


@pytest.mark.parametrize(
    ("part", "other", "difference"),
    [
        ("HTTP/1.1 200 OK", "HTTP/1.1 200 Fine", 'status line: "HTTP/1.1 200 Fine" → "HTTP/1.1 200 OK"'),
        ("Origin: *", "Origin: me", 'header Access-Control-Allow-Origin: "me" → "*"'),
        ("Connection: close\r\n", "", 'header Connection: nothing → "close"'),
        ("Connection: close", "Connection: close\r\nMore: 1", 'header More: "1" → nothing'),
        ('id":"nkn', 'id":"NKN', 'id: "NKN-sdk-js" → "nkn-sdk-js"'),
        ("}}", ',"more":[]}}', "result.more: [] → nothing"),
    ],
)
def test_a_change_of_an_http_answer_is_found(part, other, difference):
    assert part in ASKED["response"]
    case = {**ASKED, "response": ASKED["response"].replace(part, other, 1)}
    assert clock.run(rpcplay.play(case)) == [difference]


def test_headers_are_compared_in_their_order():
    lines = ASKED["response"].split("\r\n")
    lines[1], lines[2] = lines[2], lines[1]
    (difference,) = clock.run(rpcplay.play({**ASKED, "response": "\r\n".join(lines)}))
    assert difference.startswith("order of headers: ")


def test_a_change_of_what_the_client_did_is_found(monkeypatch):
    role.on_the_clock(monkeypatch)
    case = recording.CASES["sdk_hold"]
    events = [event for event in case.events if event.said is None or "hold 60" not in str(event.said)]
    told = clock.run(_differences(replace(case, events=tuple(events)), roles.ROLES["sdk_hold"][1]))
    assert told == ["ws2: ACK to alice → nothing"]


async def _differences(case, part):
    async with roles.played(case, part) as (played, _):
        return deeds.differences(played)


# -- the parts -------------------------------------------------------------------------------


def test_a_value_stands_for_one_and_for_no_other():
    one, other, third = ("ab" * 32, "cd" * 32, "ef" * 32)
    like = likeness.Likeness()
    like.values("first", one, other)
    like.values("again", one, other)
    assert like.differences == []
    like.values("moved", one, third)
    like.values("shared", third, other)
    assert [line.partition(":")[0] for line in like.differences] == ["moved", "shared"]


@pytest.mark.parametrize(
    ("recorded", "ours"),
    [
        (1, "1"),
        (None, ""),
        (True, 1),
        ("ab" * 32, "ab" * 31),
        ("127.0.0.1:1", "tcp://x"),
        (recording.PEOPLE["alice"].public_key.hex(), "ab" * 32),
        ([1], [1, 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_what_is_not_alike(recorded, ours):
    like = likeness.Likeness()
    like.values("it", recorded, ours)
    assert len(like.differences) == 1


def test_the_recording_is_signed_as_its_conventions_say():
    kinds = {"challenge": 0, "outbound": 0, "receipt": 0}
    for case in recording.CASES.values():
        challenge = {}
        for event in case.events:
            body = event.rest.get("json", {})
            if "Challenge" in {**body, **event.rest}:
                challenge[event.conn] = {**body, **event.rest}["Challenge"]
            kinds["challenge"] += recording.challenge_holds(body, challenge.get(event.conn, "00"))
            read = recording.read(event)
            if isinstance(read, recording.envelope.Receipt):
                kinds["receipt"] += any(
                    recording.envelope.receipt(one, read.prev_hash) == recording.frame_of(event)
                    for one in recording.PEOPLE.values()
                )
            elif isinstance(read, recording.envelope.Outbound):
                sources = [*recording.ADDRESSES.values(), *case.conns.values()]
                sources += [one.rest["addr"] for one in case.events if one.op == "registered"]
                kinds["outbound"] += any(
                    recording.signatures_hold(read, source, bytes.fromhex(node["pubkey"]))
                    for source in set(sources)
                    for node in recording.NODES.values()
                )
    assert kinds == COUNTED


COUNTED = {"challenge": 22, "outbound": 41, "receipt": 6}
"""Signatures of the file that verify; its recorder verified 89, 79 and 9 before sizes were cut."""


def test_the_clock_leaps_and_waits_for_what_was_written():
    async def play():
        ours, theirs = socket.socketpair()
        wire = rawsocket.Wire(ours, upgraded=True)
        began = clock.now()
        await asyncio.sleep(300)
        theirs.sendall(rawsocket.encode(1, b"late"))
        got = await wire.next(clock.now() + 300)
        await wire.close()
        theirs.close()
        return clock.now() - began, got.data

    assert clock.run(play()) == (300.0, b"late")


def test_a_loop_that_hangs_says_so(monkeypatch):
    monkeypatch.setattr(clock, "STUCK_S", 0.01)
    with pytest.raises(RuntimeError, match="nobody waits for a time"):
        clock.run(asyncio.Event().wait())


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("mask", [None, bytes(4), b"\1\2\3\4"])
def test_frames_are_read_as_they_were_written(size, mask):
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    key = mask or bytes(4)
    masked = bytes(byte ^ key[number % 4] for number, byte in enumerate(payload))
    raw = rawsocket.encode(2, masked, fin=False, rsv=4, mask=mask)

    async def read():
        return rawsocket.decode(raw), rawsocket.decode(raw[:-1])

    (got, length), partial = clock.run(read())
    assert (got.op, got.data, got.fin, got.rsv, got.masked) == ("binary", payload, False, 4, mask is not None)
    assert (length, partial) == (len(raw), None)


@pytest.mark.parametrize("frame_b", [4_194_304, 65_182, 1_048_576])
def test_frames_are_made_to_measure(frame_b):
    assert len(role._sized(frame_b)) == frame_b
