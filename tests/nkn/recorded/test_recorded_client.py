"""The recorded node's side of every case, played to our client, against the table of the page."""

import asyncio

import pytest
from nkn.recorded import clock, compat, deeds, fakenet, recording, role, roles, seedplay, sent

ROWS = compat.rows()


@pytest.fixture(autouse=True)
def on_the_clock(monkeypatch):
    role.on_the_clock(monkeypatch)


async def told(case, part):
    """The cell of one role."""
    async with roles.played(case, part) as (role, more):
        assert role.connects
        did = ", ".join(filter(None, (deeds.deeds(role), more)))
        return compat.verdict(deeds.differences(role), did) if part.compared else compat.copes(did)


@pytest.mark.parametrize("name", recording.CASES)
def test_websocket_case(name):
    cells = [
        (recording.label(part.addr), clock.run(told(recording.CASES[name], part)))
        for part in roles.ROLES.get(name, ())
    ]
    assert ROWS[name].client == (compat.parts(cells) if cells else "–")


@pytest.mark.parametrize("name", recording.RPC)
def test_rpc_case(name):
    made, differences = clock.run(seedplay.play(recording.RPC[name]))
    assert ROWS[name].client == (compat.verdict(differences, made) if differences else compat.copes(made))


def test_held_messages_before_the_answer_to_setclient():
    """Seven of 500 recorded connects went so; the frames are those of a case in which they came after it."""

    async def play():
        case = recording.CASES["offline_hold_60"]
        async with role.Role(case, roles.ROLES["offline_hold_60"][0]) as dave:
            held = [event for event in dave.events if event.op == "binary"]
            await dave.greet("dave", "cc" * 32)
            await dave.asks_in("dave")
            for event in held:
                await dave.clients["dave"].wire.send("binary", recording.frame_of(event))
            await asyncio.sleep(0.1)
            before = [message.payload for message in dave.messages], sent.receipts(dave)
            await dave.clients["dave"].wire.send("text", fakenet.welcome(dave.network, "N1"))
            await asyncio.sleep(0.1)
            return before, deeds.deeds(dave)

    (texts, receipts), after = clock.run(play())
    assert (texts, receipts) == (["held 0", "held 1", "held 2"], 0)
    assert after == "registers 1, delivers 3, gives receipts 1, acknowledges 3"
