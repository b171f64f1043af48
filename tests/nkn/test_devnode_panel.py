"""The control port on paper: requests in, answers out."""

import json

import pytest

from relay.nkn.devnode.answer import Asked
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.panel import Panel
from relay.nkn.devnode.registry import EVERY, Choice
from relay.nkn.devnode.ring import Place, Ring
from relay.nkn.devnode.times import Times


class Node:
    """What a panel sees of a node; notes what it is told."""

    def __init__(self, number=0):
        self.faults = Faults(loss=0.5)
        self.ring = Ring(bytes)
        self.place = Place(bytes([number]) * 32, b"\x02" * 32, "h:1", "h:2" if number else "", "h:3")
        self.times = Times()
        self.running = True
        self.told = []

    async def up(self):
        if not self.running and self.told[-1:] == ["taken"]:
            raise OSError("cannot listen on h:3")
        self.running = True

    async def down(self):
        self.running = False

    def statistics(self):
        return {"sockets": 7}

    def clients(self):
        return [{"socket": 1}]

    def cut(self, choice):
        self.told.append(choice)
        return 3

    def push_wrong_node(self, choice):
        self.told.append(choice)
        return 2

    def make_block(self):
        self.ring.chain.advance()


@pytest.fixture
def node():
    return Node()


async def ask(nodes, request, body=None, **headers):
    method, _, target = request.partition(" ")
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    asked = Asked(method, target, headers={"host": "127.0.0.1:9", **headers}, body=raw)
    answer = await Panel(nodes if isinstance(nodes, list) else [nodes]).answer(asked)
    return answer.status, json.loads(answer.body)


async def test_all_knobs_are_told(node):
    status, told = await ask(node, "GET /faults")
    assert status == 200
    assert told["loss"] == 0.5
    assert (told["path_delay_ms"], told["black_hole"], told["mute"]) == ({}, [], False)
    assert set(told) == set(Faults.__dataclass_fields__)


async def test_knobs_are_changed_replaced_and_reset(node):
    changes = {"path_delay_ms": {"1": 200, "-1": 5}, "black_hole": [0, 2], "mute": True, "rpc_failures": 3}
    status, told = await ask(node, "PATCH /faults", changes)
    assert status == 200
    assert {name: told[name] for name in changes} == changes
    assert node.faults == Faults(
        loss=0.5, path_delay_ms=((1, 200.0), (-1, 5.0)), black_hole=(0, 2), mute=True, rpc_failures=3
    )
    await ask(node, "PATCH /faults", {"black-hole": "1,3", "only": "bob"})
    assert (node.faults.black_hole, node.faults.only, node.faults.loss) == ((1, 3), "bob", 0.5)
    await ask(node, "PUT /faults", {"delay_ms": 5})
    assert node.faults == Faults(delay_ms=5.0)
    await ask(node, "DELETE /faults")
    assert node.faults == Faults()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"loss": 2}, "loss: a probability is between 0 and 1, not 2.0"),
        ({"mute": True, "loss": "often"}, "loss: 'often' is not a number"),
        ({"loss": True}, "loss: needs a value, a number"),
        ({"loss": None}, "loss: null is no value for a knob"),
        ({"mute": 7}, "mute: '7' is not on or off"),
        ({"rpc_failures": 1.5}, "rpc_failures: '1.5' is not a whole number"),
        ({"black_hole": [[1]]}, "black_hole: '[1]' is not a list of paths such as 0,2"),
        ({"delay_ms": 1e400}, "delay_ms: must be 0 or more, not inf"),
        ([], 'knobs are a JSON object such as {"loss": 0.1}'),
        (b"{loss: 1}", "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b"\xff", "the body is no JSON"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_what_cannot_be_is_told_and_changes_nothing(node, method, body, sentence):
    assert await ask(node, f"{method} /faults", body) == (400, {"error": sentence})
    assert node.faults == Faults(loss=0.5)


async def test_an_unknown_knob_is_named(node):
    status, told = await ask(node, "PATCH /faults", {"rain": 1})
    assert status == 400
    assert told["error"].startswith("rain: there is no such knob; there are black_hole, ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:8080"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "rebound.example"}, 403),
        ({"host": "127.0.0.1.example:9"}, 403),
        ({"host": ""}, 403),
        ({"host": "10.0.0.1"}, 403),
        ({"host": "localhost"}, 200),
        ({"host": "LOCALHOST:9"}, 200),
        ({"host": "[::1]:9"}, 200),
        ({"host": "127.0.0.2"}, 200),
    ],
)
async def test_web_pages_cannot_reach_it(node, headers, status):
    told = await ask(node, "PATCH /faults", {"loss": 0}, **headers)
    assert told[0] == status
    assert node.faults == (Faults() if status == 200 else Faults(loss=0.5))


@pytest.mark.parametrize(
    ("body", "choice"),
    [
        (None, EVERY),
        ({}, EVERY),
        ({"address": "alice"}, Choice(address="alice")),
        ({"path": -1, "socket": 7}, Choice(path=-1, socket=7)),
    ],
)
async def test_sockets_are_chosen(node, body, choice):
    assert await ask(node, "POST /cut", body) == (200, {"cut": 3})
    assert await ask(node, "POST /push-wrong-node", body) == (200, {"pushed": 2})
    assert node.told == [choice, choice]


@pytest.mark.parametrize("body", [[], {"address": 5}, {"path": True}, {"path": "1"}, {"name": "alice"}])
async def test_sockets_that_cannot_be_chosen(node, body):
    status, told = await ask(node, "POST /cut", body)
    assert (status, node.told) == (400, [])
    assert told["error"].startswith("sockets are chosen by {")


async def test_blocks_numbers_clients_and_clocks(node):
    status, told = await ask(node, "POST /make-block")
    assert (status, told["height"]) == (200, 1)
    assert set(told) == {"height", "hash", "signable"}
    assert await ask(node, "GET /statistics") == (200, {"sockets": 7})
    assert await ask(node, "GET /clients") == (200, [{"socket": 1}])
    assert (await ask(node, "GET /times"))[1]["ping_s"] == 8.0


async def test_a_node_is_stopped_and_started(node):
    assert (await ask(node, "POST /stop"))[1]["running"] is False
    assert (await ask(node, "POST /start"))[1]["running"] is True
    await ask(node, "POST /stop")
    node.told.append("taken")
    assert await ask(node, "POST /start") == (409, {"error": "cannot listen on h:3"})


async def test_several_nodes_are_named_one_at_a_time():
    nodes = [Node(0), Node(1)]
    await ask(nodes, "PATCH /nodes/1/faults", {"loss": 0})
    assert [node.faults.loss for node in nodes] == [0.5, 0.0]
    status, told = await ask(nodes, "GET /faults")
    assert (status, told["error"]) == (
        404,
        "there are 2 nodes: say which, /nodes/0/faults to /nodes/1/faults",
    )
    for number in ("2", "x", "-1", ""):
        status, told = await ask(nodes, f"GET /nodes/{number}/faults")
        assert (status, told["error"]) == (404, f"there is no node {number!r}; there are 0 to 1")
    _, told = await ask(nodes, "GET /")
    assert [(one["rpc"], one["ws"], one["wss"]) for one in told["nodes"]] == [
        ("http://h:3", "ws://h:1", ""),
        ("http://h:3", "ws://h:1", "wss://h:2"),
    ]
    assert told["routes"]["/faults"] == ["GET", "PATCH", "PUT", "DELETE"]


async def test_one_node_may_be_named_too(node):
    assert (await ask(node, "GET /nodes/0/statistics/?pretty"))[0] == 200


async def test_what_is_not_there(node):
    status, told = await ask(node, "GET /weather")
    assert status == 404
    assert told["error"].startswith("there is no /weather; there are /faults, /times, ")
    assert await ask(node, "PUT /cut") == (405, {"error": "/cut takes POST, not PUT"})
    asked = Asked("POST", "/faults", headers={"host": "localhost"})
    answer = await Panel([node]).answer(asked)
    assert ("Allow", "GET, PATCH, PUT, DELETE") in answer.headers
